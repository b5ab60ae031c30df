"""A recorded run once more, offline: the same version, commits, inputs and state; the recording answers for the world.

What a replay shows is how the routine behaves, never what is true outside. Every check of it is a claim, so that its
outcome is `failed` or `unverified`, and the row says whose replay it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

from tickover.control.dispatch import RunRequest, accept
from tickover.control.execute import execute
from tickover.control.house import House
from tickover.control.record import Observer
from tickover.control.recording import Playing
from tickover.core.cassette import Header, read_cassette
from tickover.core.comparison import Comparison, compare
from tickover.core.errors import NotFoundError, UsageError
from tickover.core.event import Scalar
from tickover.core.row import RunRow
from tickover.routines.loader import Loaded
from tickover.store.base import Blobs


def recording_of(blobs: Blobs, row: RunRow) -> tuple[Header, BinaryIO]:
    """Return what a run was, and its cassette, to be closed. Raises NotFoundError, CassetteError."""
    if row.cassette is None:
        hint = "`tickover run --record FOLDER` records a run"
        raise NotFoundError("cassette.not_found", f"run {row.id} was not recorded", hint=hint)
    header = read_cassette(blobs.get(row.cassette.digest)).header
    return header, blobs.open(row.cassette.digest)


def at_build(header: Header, build: str | None) -> Header:
    """Return the recording's header for another build of the same agent. Raises UsageError for another agent."""
    if build is None:
        return header
    name = header.build.partition("@")[0]
    if build.partition("@")[0] != name or not build.partition("@")[2]:
        raise UsageError("replay.build", f"the run was {header.build}: another build of it is `{name}@VERSION`")
    return header.model_copy(update={"build": build})


async def replay(
    house: House,
    original: RunRow,
    load: Callable[[str, str], tuple[Loaded, str]],
    *,
    random: Callable[[int], str],
    build: str | None = None,
    observe: Observer | None = None,
    cancellable: Callable[[Callable[[], None]], None] = lambda _cancel: None,
) -> Comparison:
    """Replay a run and put it beside the original. `load` takes a routine's name and kept version, and has its folder.

    Raises NotFoundError where nothing was recorded, UsageError for a build of another agent.
    """
    header, cassette = await asyncio.to_thread(recording_of, house.blobs, original)
    with Playing(house.gateway, cassette) as gateway:
        header = at_build(header, build)
        if house.agent(header.build.partition("@")[0]).package is None:  # it comes with Tickover, in no other build
            header = header.model_copy(update={"build": ""})
        loaded, folder = load(header.routine, header.copy_)
        request = RunRequest(
            folder=folder,
            inputs={name: _word(value) for name, value in header.inputs.items()},
            event=None if header.event is None else house.blobs.get(header.event),
            repositories={name: each.url for name, each in header.subject.items()},
            wait=False,
            trigger="replay",
            replay=header,
        )
        offline = replace(house, gateway=gateway, offline=True)
        accepted = accept(house.store, house.blobs, loaded, request, house.owner, random=random)
        return compare(original, await execute(offline, accepted, observe, cancellable))


def _word(value: Scalar) -> str:
    """Write an input as it is typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)
