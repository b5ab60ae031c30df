"""A server as people start it: pushed to over the API, fired by HTTP and by a signed hook, judged, and told about."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tickover.testing.http import double

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = (sys.executable, "-c", "from tickover.cli import main; main(prog_name='tickover')")
ROUTINE = """---
name: work
agent: steps
on:
  - api: {}
  - webhook: {verify: {sig: {header: x-acme-signature, encoding: hex}, signed: "{body}", secret: acme}}
notify:
  - {on: [verified, failed, unverified], to: ops}
expect: [{command: {run: "python3 check.py"}}]
---
```bash
mkdir -p out && echo 42 > out/answer.txt
```
"""
CHECK = """import sys
try:
    sys.exit(open("/subject/out/answer.txt").read().strip() != "42")
except OSError as error:
    sys.exit(f"{error}")
"""


class Up:
    """A running `tickover up`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "TICKOVER_HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        self.url = ""
        self.token = ""
        self.process: asyncio.subprocess.Process | None = None
        self.log = b""

    async def start(self) -> None:
        argv = (*PROGRAM, "up", "--dev", "--port", "0", "--drain", "60")
        self.process = await asyncio.create_subprocess_exec(
            *argv, env=self.environment, cwd=self.folder, stderr=asyncio.subprocess.PIPE
        )
        assert self.process.stderr is not None
        async with asyncio.timeout(400):
            while b"token " not in self.log:
                line = await self.process.stderr.readline()
                assert line, self.log
                self.log += line
        text = self.log.decode()
        self.url = re.findall(r"listening on (\S+)", text)[0]
        self.token = re.findall(r"token +(tko_\S+)", text)[0]

    async def stop(self) -> int:
        assert self.process is not None
        assert self.process.stderr is not None
        self.process.send_signal(signal.SIGTERM)
        self.log += await self.process.stderr.read()
        return await self.process.wait()

    async def cli(self, *args: str, stdin: str = "") -> tuple[int, str, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *PROGRAM, *args, env=self.environment, cwd=self.folder, stdin=pipe, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def client(self) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=400, trust_env=False)


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    made = Up(tmp_path)
    (tmp_path / "home").mkdir(mode=0o700)
    folder = tmp_path / "routines" / "work"
    (folder / "checks").mkdir(parents=True)
    (folder / "ROUTINE.md").write_text(ROUTINE)
    (folder / "checks" / "check.py").write_text(CHECK)
    yield made
    if made.process is not None and made.process.returncode is None:
        made.process.kill()
        await made.process.wait()


async def test_from_a_push_to_a_notice(up: Up) -> None:
    key = base64.b64encode(b"k" * 24).decode()
    async with double() as ops:
        target = {"kind": "webhook", "url": f"{ops.url}/notices", "secret": "ops-signing"}
        (up.folder / "home" / "tickover.yaml").write_text(json.dumps({"notify": {"ops": target}}))
        for name, value in (("ops-signing", f"whsec_{key}"), ("acme", "acme-secret-value")):
            code, _, err = await up.cli("secret", "set", name, "--kind", "signing", stdin=value)
            assert code == 0, err
        await up.start()
        code, _, err = await up.cli("login", up.url, stdin=up.token + "\n")
        assert code == 0, err
        assert (up.folder / "config/tickover/login.json").stat().st_mode & 0o777 == 0o600
        code, out, err = await up.cli("push", "--remote", "routines/work", "--json")
        assert code == 0, err
        assert json.loads(out)["name"] == "work"

        code, out, err = await up.cli("run", "--remote", "work", "--json")
        assert code == 0, err
        last = json.loads(out.splitlines()[-1])
        assert (last["type"], last["data"]["outcome"], last["data"]["trigger"]) == ("run", "verified", "api")

        async with up.client() as client:
            body = b'{"id": 7}'
            signature = hmac.new(b"acme-secret-value", body, hashlib.sha256).hexdigest()
            forged = await client.post("/hooks/work/webhook", content=body, headers={"x-acme-signature": "0" * 64})
            assert forged.status_code == 401
            taken = await client.post("/hooks/work/webhook", content=body, headers={"x-acme-signature": signature})
            assert taken.status_code == 200, taken.text
            async with asyncio.timeout(400):
                while True:
                    runs = (await client.get("/api/v1/runs")).json()["runs"]
                    ended = [run for run in runs if run["finished"]]
                    if len(ended) == 2 and len(ops.sent) == 2:
                        break
                    await client.get(f"/api/v1/runs/{runs[0]['id']}?wait=1")
            assert [run["outcome"] for run in ended] == ["verified", "verified"]
            notices = (await client.get("/api/v1/notices")).json()["notices"]
            assert [each["state"] for each in notices] == ["sent", "sent"]
        assert await up.stop() == 0
    for sent in ops.sent:
        told: dict[str, Any] = json.loads(sent.body)
        assert (told["type"], told["routine"], told["outcome"]) == ("notice", "work", "verified")
        assert told["checks"][0]["result"] == "pass"
        signed = f"{sent.headers['webhook-id']}.{sent.headers['webhook-timestamp']}.".encode() + sent.body
        wanted = hmac.new(b"k" * 24, signed, hashlib.sha256).digest()
        assert sent.headers["webhook-signature"] == "v1," + base64.b64encode(wanted).decode()
    text = up.log.decode()
    assert "acme-secret-value" not in text
    assert key not in text


async def test_one_data_folder_has_one_server_and_a_taken_port_is_said(up: Up) -> None:
    await up.start()
    code, _, err = await up.cli("up", "--port", "0")
    assert code == 2
    assert "server.running" in err
    port = up.url.rpartition(":")[2]
    up.environment["TICKOVER_HOME"] = str(up.folder / "other")
    code, _, err = await up.cli("up", "--port", port)
    assert code == 2
    assert "server.address" in err
    assert await up.stop() == 0
