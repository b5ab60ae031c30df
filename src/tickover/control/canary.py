"""A new build of an agent on recorded cases, before a routine that pins none gets it.

Each recorded run of the agent is replayed at the new build; where that looks worse, at the build that was recorded,
too (core/canary.py). A build that is not installed yet is held back from the moment it is: what was not finished
proves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from tickover.control.house import House
from tickover.control.playback import recording_of
from tickover.core.canary import CanaryNote, Case, judge, unclear, worse
from tickover.core.comparison import Comparison
from tickover.core.errors import TickoverError, UsageError
from tickover.core.row import RunRow
from tickover.workspace.builds import Builds, checked

_PAGE: Final = 200


class Replay(Protocol):
    """Replays a recorded run at a build."""

    async def __call__(self, run: str, *, build: str) -> Comparison: ...


@dataclass(frozen=True, slots=True)
class Canary:
    """Compares one build. `install` makes it be there, `replay` runs a recorded run again.

    `stopped` says whether a person wants no more, `told` hears of each case.
    """

    house: House
    build: str
    install: Callable[[], Awaitable[object]]
    replay: Replay
    clock: Callable[[], float]
    stopped: Callable[[], bool]
    told: Callable[[Case], None]

    async def compare(self, routine: str | None, most: int) -> CanaryNote:
        """Compare it on the newest recorded runs, of one `routine` if given, and keep what was found.

        What was found for other routines stays. The note that is returned has the cases of this comparison only.

        Raises UsageError for what is no build, SetupFailed where it cannot be installed.
        """
        name, _, version = self.build.partition("@")
        if self.house.agent(name).package is None:
            raise UsageError("agent.no_versions", f"`{name}` comes with Tickover: it has no builds to compare")
        builds = Builds(self.house.data)
        there = builds.find(name, checked(name, version))
        if there is None:
            builds.canaries.put(CanaryNote(build=self.build, at=self.clock()))
            await self.install()
        else:
            there.close()
        rows = await asyncio.to_thread(lambda: [*recorded(self.house, name, routine, most)])
        cases: list[Case] = []
        for row in rows:
            case = await self._case(row)
            if self.stopped():
                break
            cases.append(case)
            self.told(case)
        done = next(each for each in builds.installed(name) if each.version == version)
        note = CanaryNote(build=self.build, key=done.key, at=self.clock(), finished=not self.stopped(), cases=(*cases,))
        if note.finished:
            earlier = done.canary.cases if done.canary is not None and routine is not None else ()
            others = tuple(each for each in earlier if each.routine != routine)
            builds.canaries.put(note.model_copy(update={"cases": (*note.cases, *others)}))
        return note

    async def _case(self, row: RunRow) -> Case:
        try:
            header, cassette = await asyncio.to_thread(recording_of, self.house.blobs, row)
            cassette.close()
            compared = await self.replay(row.id, build=self.build)
        except TickoverError as error:
            return unclear(row, f"it cannot be replayed: {error.message}")
        return judge(compared, await self._control(row, compared), unread=header.unread)

    async def _control(self, row: RunRow, compared: Comparison) -> Comparison | None:
        """Replay at the recorded build, where the new one looks worse and the old one is still installed."""
        if not worse(compared) or self.stopped():
            return None
        if row.agent_build == self.build:
            return compared
        name, _, version = row.agent_build.partition("@")
        with suppress(TickoverError):
            if (held := Builds(self.house.data).find(name, version)) is not None:
                held.close()
                return await self.replay(row.id, build=row.agent_build)
        return None


def recorded(house: House, agent: str, routine: str | None, most: int) -> Iterator[RunRow]:
    """Yield at most so many recorded runs of an agent that have ended, the newest first."""
    before: str | None = None
    while most > 0 and (page := house.store.runs.list(routine=routine, finished=True, limit=_PAGE, before=before)):
        before = page[-1].run
        for row in (RunRow.model_validate(each.row) for each in page):
            if most > 0 and row.cassette is not None and row.agent_build.startswith(f"{agent}@"):
                most -= 1
                yield row
