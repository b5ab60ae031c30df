"""A server as people start it: pushed to over the API, fired by HTTP and by a signed hook, judged, and told about."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tickover.testing.http import double
from tickover.testing.up import Up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROUTINE = """---
name: work
agent: steps
inputs: {diff: {type: string, default: ""}}
on:
  - api: {}
  - webhook: {verify: {sig: {header: x-acme-signature, encoding: hex}, signed: "{body}", secret: acme}, input: {diff: {file: $.diff}}}
notify:
  - {on: [verified, failed, unverified], to: ops}
expect: [{command: {run: "python3 check.py"}}]
---
```bash
mkdir -p out && echo 42 > out/answer.txt
if [ -n "$TICKOVER_INPUT_DIFF" ]; then test "$(wc -c < "$TICKOVER_INPUT_DIFF")" = 200000; fi
```
"""
CHECK = """import sys
try:
    sys.exit(open("/subject/out/answer.txt").read().strip() != "42")
except OSError as error:
    sys.exit(f"{error}")
"""


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    made = Up(tmp_path)
    (tmp_path / "home").mkdir(mode=0o700)
    folder = tmp_path / "routines" / "work"
    (folder / "checks").mkdir(parents=True)
    (folder / "ROUTINE.md").write_text(ROUTINE)
    (folder / "checks" / "check.py").write_text(CHECK)
    yield made
    await made.kill()


async def test_from_a_push_to_a_notice(up: Up) -> None:
    key = base64.b64encode(b"k" * 24).decode()
    async with double() as ops:
        target = {"kind": "webhook", "url": f"{ops.url}/notices", "secret": "ops-signing"}
        port = ops.url.rpartition(":")[2]
        ci = {"url": f"http://localhost:{port}/callback", "secret": "ops-signing", "routines": ["work"]}
        configuration = {"notify": {"ops": target}, "callbacks": {"ci": ci}, "network": {"private": ["localhost"]}}
        (up.folder / "home" / "tickover.yaml").write_text(json.dumps(configuration))
        for name, value in (("ops-signing", f"whsec_{key}"), ("acme", "acme-secret-value")):
            code, _, err = await up.cli("secret", "set", name, "--kind", "signing", stdin=value)
            assert code == 0, err
        await up.start()
        code, _, err = await up.cli("login", up.url, stdin=up.token + "\n")
        assert code == 0, err
        assert (up.folder / "config/tickover/login.json").stat().st_mode & 0o777 == 0o600
        code, _, err = await up.cli("secret", "set", "spare", "--remote", "--hosts", "example.com", stdin="spare-value")
        assert code == 0, err
        code, out, err = await up.cli("secret", "list", "--remote", "--json")
        assert (code, [each["name"] for each in json.loads(out)]) == (0, ["acme", "ops-signing", "spare"]), err
        code, out, err = await up.cli("secret", "list", "--remote")
        assert (code, "example.com" in out, "spare-value" in out) == (0, True, False), err
        code, _, err = await up.cli("secret", "rm", "spare", "--remote")
        assert (code, "spare removed" in err) == (0, True), err
        code, out, err = await up.cli("secret", "list", "--remote", "--json")
        assert "spare" not in [each["name"] for each in json.loads(out) if each["version"]], err
        code, out, err = await up.cli("push", "--remote", "routines/work", "--json")
        assert code == 0, err
        assert json.loads(out)["name"] == "work"
        code, out, err = await up.cli("grant", "--remote", "work", "--yes", "--json")
        assert (code, json.loads(out)["granted"]) == (0, True), err

        code, out, err = await up.cli("run", "--remote", "work", "--json")
        assert code == 0, err
        last = json.loads(out.splitlines()[-1])
        assert (last["type"], last["data"]["outcome"], last["data"]["trigger"]) == ("run", "verified", "api")

        async with up.client() as client:
            body = json.dumps({"id": 7, "diff": "+" * 200_000}).encode()
            signature = hmac.new(b"acme-secret-value", body, hashlib.sha256).hexdigest()
            forged = await client.post("/hooks/work/webhook", content=body, headers={"x-acme-signature": "0" * 64})
            assert forged.status_code == 401
            taken = await client.post("/hooks/work/webhook", content=body, headers={"x-acme-signature": signature})
            assert taken.status_code == 200, taken.text
            async with asyncio.timeout(400):
                while True:
                    runs = (await client.get("/api/v1/runs")).json()["runs"]
                    ended = [run for run in runs if run["finished"]]
                    notices = (await client.get("/api/v1/notices")).json()["notices"]
                    settled = [each for each in notices if each["state"] != "waiting"]
                    if len(ended) == 2 and len(ops.sent) == 3 and len(settled) == 3:
                        break
                    await client.get(f"/api/v1/runs/{runs[0]['id']}?wait=1")
            assert [run["outcome"] for run in ended] == ["verified", "verified"]
            assert [each["state"] for each in notices] == ["sent", "sent", "sent"]
        assert await up.stop() == 0
    assert sorted(each.path for each in ops.sent) == ["/callback", "/notices", "/notices"]
    for sent in ops.sent:
        told: dict[str, Any] = json.loads(sent.body)
        if sent.path == "/callback":
            assert (told["type"], told["data"]["run"], told["data"]["outcome"]) == (
                "run.finished",
                last["data"]["id"],
                "verified",
            )
        else:
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
