"""The recording of an attempt, and a run that is played from one: a gateway in front of the gateway each.

The gateway's process writes what it can read of the agent's traffic into a file without a name, so that nothing is left
of it unless the attempt comes to its end; then it is a blob, and a fact of the journal names it. A replay hands such a
blob back: the gateway's process answers from it, and holds neither a credential nor a way to dial.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO, Final, Self

from tickover.control.dispatch import Accepted
from tickover.control.house import House
from tickover.control.outreach import offline
from tickover.control.prepare import Prepared
from tickover.core.cassette import MOST_BYTES, Header, Pinned, write_line
from tickover.core.egress import Egress
from tickover.core.event import CassetteStored, HostReached, decode
from tickover.core.network import Route
from tickover.core.receipt import Broken, Head, Identity, Link
from tickover.gateway.session import Gateway, Passport, Session, Witness
from tickover.workspace.base import Commit

_LARGEST: Final = 4 * MOST_BYTES
"""Bytes of a file, base64 and heads included."""


class _Behind:
    """A gateway that hands everything on to the one behind it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def ready(self) -> None:
        await self._gateway.ready()

    async def verify(self, run: str, links: Sequence[Link], sealed: Head, *, unfinished: bool = False) -> Broken | None:
        return await self._gateway.verify(run, links, sealed, unfinished=unfinished)

    async def close(self) -> None:
        """Do nothing: it is not ours."""


class Taping(_Behind):
    """Records the agent's sessions of one attempt. `copy` is the routine's folder as it was kept."""

    def __init__(self, house: House, copy: str) -> None:
        super().__init__(house.gateway)
        self._house = house
        self._copy = copy
        self._file: BinaryIO = tempfile.TemporaryFile(dir=house.data)  # noqa: SIM115 - closed by `close`

    async def open(self, passport: Passport, witness: Witness) -> Session:
        """Begin a session (see the port): the agent's are recorded."""
        if passport.identity is Identity.AGENT:
            passport = replace(passport, tape=self._file.fileno())
        return await self._gateway.open(passport, witness)

    async def keep(self, accepted: Accepted, prepared: Prepared, attempt: int, egress: Egress) -> CassetteStored:
        """Store what was recorded, and return the fact. The agent's sessions must be closed."""
        return await asyncio.to_thread(self._keep, accepted, prepared, attempt, egress)

    def _keep(self, accepted: Accepted, prepared: Prepared, attempt: int, egress: Egress) -> CassetteStored:
        resolved = prepared.resolved
        header = Header(
            run=accepted.run,
            attempt=attempt,
            routine=accepted.routine.name,
            routine_version=resolved.version,
            copy_=self._copy,
            inputs=accepted.inputs,
            event=None if accepted.request.event is None else self._house.blobs.put(accepted.request.event),
            subject={name: _pinned(commit) for name, commit in resolved.subject.items()},
            trusted={name: _pinned(commit) for name, commit in resolved.trusted.items()},
            build=resolved.build,
            state=prepared.state,
            boundary=accepted.boundary,
            unread=tuple(_tunnelled(self._house, accepted.run, egress)),
        )
        self._file.seek(0)
        takes = self._file.read(_LARGEST)
        whole = write_line(header) + takes
        lines = takes.splitlines()
        left_out = sum(b'"left_out":""' not in line for line in lines)
        digest = self._house.blobs.put(whole)
        return CassetteStored(digest=digest, calls=len(lines), bytes=len(whole), left_out=left_out)

    def discard(self) -> None:
        """Let go of the file."""
        self._file.close()


class Playing(_Behind):
    """Plays the agent's session from a cassette; every other session would ask the world, and is refused."""

    def __init__(self, gateway: Gateway, cassette: BinaryIO) -> None:
        super().__init__(gateway)
        self._cassette = cassette

    async def open(self, passport: Passport, witness: Witness) -> Session:
        """Begin a session (see the port). Raises TickoverError `replay.offline`."""
        if passport.identity is not Identity.AGENT:
            raise offline(f"what the {passport.identity} would need")
        played = replace(passport, cassette=self._cassette.fileno(), sealed={})
        return await self._gateway.open(played, witness)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._cassette.close()


def _pinned(commit: Commit) -> Pinned:
    return Pinned(url=commit.url, sha=commit.sha, branch=commit.branch, default_branch=commit.default_branch)


def _tunnelled(house: House, run: str, egress: Egress) -> dict[str, None]:
    """Return the hosts that the agent reached through a tunnel: nobody could read what was said."""
    found: dict[str, None] = {}
    after = 0
    while page := house.store.journal.read(run, after):
        after = page[-1].seq
        for fact in (decode(event) for event in page if event.type == "host_reached"):
            if not isinstance(fact, HostReached) or fact.identity is not Identity.AGENT:
                continue
            if egress.policy.judge(fact.host, fact.port).route is Route.TUNNEL:
                found[f"{fact.host}:{fact.port}"] = None
    return found
