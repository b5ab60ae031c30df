"""kill -9 of `tickover up`, each of its processes in turn, while webhooks come: no 200 is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import collections
import hashlib
import hmac
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tickover.app import Tickover
from tickover.core.run import fold
from tickover.core.status import ENDED, Outcome
from tickover.testing.localhost import configure, entry, serving
from tickover.testing.upstream import Upstream

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
TICKOVER = (sys.executable, "-c", "from tickover.cli import main; main(prog_name='tickover')")
SECRET = b"a-signing-secret"
KILLS = int(os.environ.get("TICKOVER_TEST_KILLS", "20"))
VICTIMS = ("server", "gateway", "launcher")
MARKS = {"gateway": b"tickover.gateway", "launcher": b"tickover.sandbox.launcher"}
ROUTINE = """---
name: {name}
agent: steps
inputs: {{number: {{type: integer, default: 0}}}}
on: [{{github: {{repo: acme/app, secret: hook, events: [{event}], input: {{number: $.number}}}}}}]
overlap: queue
limits: {{concurrent: 2}}
retry: {{attempts: 3, backoff: 0s, when: [infrastructure]}}
may: [{{request: {{to: "POST https://{host}/post", max: 1}}}}]
expect: [{{receipt: {{to: "POST https://{host}/post", request: {{json: {{number: {{gte: 0}}}}}}, response: {{status: 200, json: {{ok: true}}}}, count: 1}}}}]
---
```python
import json, os, urllib.request
number = json.load(open(os.environ["TICKOVER_INPUT"]))["inputs"]["number"]
body = json.dumps({{"number": number}}).encode()
asked = urllib.request.Request("https://{host}/post", body, {{"content-type": "application/json"}}, method="POST")
urllib.request.urlopen(asked, timeout=30).read()
```
"""


class Senders(threading.Thread):
    """One client that sends until it is told to stop, and keeps its own list of what was answered with 200."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.answered: set[str] = set()
        self.over = threading.Event()
        self.more = threading.Event()
        """Set while runs may be asked for, too: they cost more than an event."""

    def run(self) -> None:
        number = 0
        while not self.over.is_set():
            number += 1
            starts = self.more.is_set() and number % 60 == 0
            self._send("push" if starts else "issues", f"d{number}", number)
            self.over.wait(0.02)

    def _send(self, event: str, delivery: str, number: int) -> None:
        body = json.dumps({"number": number, "repository": {"full_name": "acme/app"}}).encode()
        signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        headers = {"content-type": "application/json", "x-github-event": event, "x-github-delivery": delivery}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/hooks/work/github", body, {**headers, "x-hub-signature-256": signature})
            if connection.getresponse().status == 200:
                self.answered.add(delivery)
        connection.close()


@contextmanager
def up(home: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    argv = [*TICKOVER, "up", "--home", str(home), "--port", str(port), "--drain", "60"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith("up:"):
                break
        else:
            pytest.fail(said)
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            drain.join()


def child(server: int, victim: str) -> int | None:
    """Find a process that the server started."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent == server and MARKS[victim] in status.with_name("cmdline").read_bytes():
                return int(status.parent.name)
    return None


def until(holds: Callable[[], object], seconds: float) -> bool:
    never, deadline = threading.Event(), time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        never.wait(0.2)
    return True


def set_up(home: Path, folder: Path, double: Upstream) -> None:
    home.mkdir(mode=0o700)
    configure(home, [double])
    work = folder / "routines" / "work"
    work.mkdir(parents=True)
    (work / "ROUTINE.md").write_text(ROUTINE.format(name="work", event="push", host=entry(double)))
    command = [*TICKOVER, "secret", "set", "hook", "--kind", "signing", "--home", str(home)]
    subprocess.run(command, input=SECRET, check=True, capture_output=True)

    async def pushing() -> None:
        async with await Tickover.open(home, sandbox=False) as tickover:
            tickover.push(work)
            tickover.grant(tickover.pushed_folder("work"), by="owner")

    asyncio.run(pushing())


def play(home: Path, port: int, senders: Senders, seen: Callable[[], int]) -> list[str]:
    """Kill each in turn; return whom."""
    dice, killed, never = random.Random(11), list[str](), threading.Event()
    while len(killed) < KILLS:
        with up(home, port) as server:
            senders.more.set()
            while server.poll() is None and len(killed) < KILLS:
                victim = VICTIMS[len(killed) % len(VICTIMS)]
                before = seen()
                until(lambda before=before: seen() > before or server.poll() is not None, 20)  # type: ignore[misc]
                never.wait(dice.uniform(0.0, 0.6))
                pid = server.pid if victim == "server" else child(server.pid, victim)
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                killed.append(victim if pid is not None else f"no {victim}")
                if victim == "server":
                    break
            senders.more.clear()
    return killed


def idle(tickover: Tickover) -> bool:
    return not tickover.events.pending() and all(row.finished for row in tickover.run_rows(limit=9999))


async def test_no_200_is_lost_and_nothing_is_done_twice(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with serving() as double:
        await asyncio.to_thread(set_up, home, tmp_path, double)
        senders = Senders(port)
        senders.start()
        try:
            killed = await asyncio.to_thread(play, home, port, senders, lambda: len(double.seen))
        finally:
            senders.over.set()
            await asyncio.to_thread(senders.join)
        assert {"server", "gateway", "launcher"} <= set(killed), killed

        def settle() -> None:
            tickover = Tickover(home, None)
            with up(home, port) as server:
                assert until(lambda: idle(tickover), 600)
                server.send_signal(signal.SIGTERM)
                assert server.wait(120) == 0
            asyncio.run(tickover.close())

        await asyncio.to_thread(settle)
        posted = collections.Counter(json.loads(body)["number"] for body in double.bodies())
    async with await Tickover.open(home, sandbox=False) as tickover:
        stored = {each.delivery: each for each in tickover.events.list(limit=1_000_000)}
        assert senders.answered <= stored.keys()
        runs = {row.id: row for row in tickover.run_rows(limit=9999)}
        fired = [tickover.events.routings(each.event)[0] for each in stored.values() if each.name == "push"]
        assert {each.run for each in fired} == runs.keys()
        for row in runs.values():
            assert row.execution in ENDED
            assert fold(tickover.journal(row.id)) == row
            number = row.inputs["number"]
            assert posted[number] <= 1, row.id
            assert row.outcome is not Outcome.VERIFIED or posted[number] == 1
        outcomes = collections.Counter(f"{row.execution} {row.outcome}" for row in runs.values())
        print(f"{len(senders.answered)} answered, {len(stored)} stored, {dict(outcomes)}, killed {killed}")
        assert any(row.outcome is Outcome.VERIFIED for row in runs.values())
