"""Reading a connector back: in a sandbox of its own, whose way out is the gateway's, as the verifier.

Nothing of the run is in that sandbox, and nothing but GET leaves it. The gateway puts the verifier's credential in, so
that its value is in no process but the gateway's. Each question has a session of its own, closed with its answer.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, urlencode

from tickover.checks.base import EVIDENCE_BYTES, HttpAnswer
from tickover.control.hands import ReadConnector, ran
from tickover.control.house import House
from tickover.control.network import Ways
from tickover.control.outreach import offline
from tickover.core.connector import connected
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import TickoverError
from tickover.core.receipt import Identity
from tickover.sandbox.base import ResourceLimits, SandboxSpec

_SECONDS: Final = 30
_LARGEST: Final = EVIDENCE_BYTES - (64 << 10)  # bytes of a body: with its head it has room in what is kept of stdout
_PROGRAM: Final = "/tickover/read.py"
_HEADERS: Final = ("content-type", "date", "link", "location", "retry-after", "x-tickover-deny")
_LIMITS: Final = ResourceLimits(memory=512 << 20, cpus=1.0, pids=32, disk=64 << 20)


def read_back(house: House, ways: Ways) -> ReadConnector:
    """Return what reads connectors for the checks of one attempt."""

    async def read(name: str, path: str, query: Mapping[str, str]) -> HttpAnswer:
        if house.offline:
            raise offline(name)
        connector = connected(name, house.instance().connectors, name)
        url = f"{connector.url}{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        program = resources.files("tickover.control.inside").joinpath("read.py").read_bytes()
        spec = SandboxSpec(
            name=f"{ways.run}-r-{secrets.token_hex(3)}",
            argv=["/usr/bin/python3", "-I", _PROGRAM, url, str(_LARGEST), str(_SECONDS), *_HEADERS],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/tmp"},  # noqa: S108 - its own
            files={_PROGRAM: program},
            limits=_LIMITS,
        )
        async with ways.open(Identity.VERIFIER, ways.read_back(name)) as way:
            sandbox = await way.start(spec)
            try:
                done = await ran(sandbox, 2 * _SECONDS)
            finally:
                await sandbox.destroy()
        if done.ended != "exited" or done.exit != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [done.message or done.ended]
            raise TickoverError("connector.unreachable", f"{name} cannot be read: {said[0]}")
        return _answer(name, url, done.stdout)

    return read


def _answer(name: str, url: str, said: bytes) -> HttpAnswer:
    head, _, body = said.partition(b"\n")
    try:
        told: Any = read_json(head)
        status, headers = int(told["status"]), {str(key): str(value) for key, value in told["headers"].items()}
        truncated = bool(told["truncated"])
    except (DocumentError, KeyError, TypeError, ValueError, AttributeError):
        raise TickoverError("connector.unreachable", f"{name} cannot be read: what came back is cut off") from None
    if headers.get("x-tickover-deny"):
        raise TickoverError("connector.denied", f"{name} cannot be read: the gateway says {headers['x-tickover-deny']}")
    return HttpAnswer(status, headers, body, truncated, url, _ahead(headers.get("date", "")))


def _ahead(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return 0.0
