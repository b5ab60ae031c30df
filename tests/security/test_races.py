"""What happens beside a start cannot spoil it."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from tickover.app import Tickover
from tickover.control.dispatch import RunRequest, accept
from tickover.control.execute import execute
from tickover.sandbox.base import SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench


async def test_a_start_beside_ours_does_not_settle_our_run(bench: Bench) -> None:
    """Every start settles what killed processes left: a run that is a moment old is not left."""
    folder = bench.routine("echo done > a", expect=[{"file": {"path": "a", "equals": "done\n"}}])
    house = bench.tickover._house()
    request = RunRequest(folder=str(folder))
    accepted = accept(
        house.store, house.blobs, bench.tickover.load(folder), request, house.owner, random=secrets.token_hex
    )
    async with await Tickover.open(bench.tickover.home) as another:
        assert another.run_row(accepted.run).execution == "queued"
    row = await execute(house, accepted)
    assert (row.execution, row.outcome, row.recovered) == ("completed", "verified", 0)


async def test_the_first_starts_of_a_data_folder_at_once(tmp_path: Path) -> None:
    """Each start would make the base and the empty disk image that all later ones copy: one does, the rest wait."""
    backends = await asyncio.gather(*(BwrapBackend.open(tmp_path / "data") for _ in range(6)))
    try:
        specs = [SandboxSpec(f"one-{number}", ["/bin/sh", "-c", "echo x > /workspace/x"]) for number in range(6)]
        sandboxes = await asyncio.gather(*(b.start(spec) for b, spec in zip(backends, specs, strict=True)))
        ends = await asyncio.gather(*(sandbox.wait() for sandbox in sandboxes))
        assert [end.code for end in ends] == [0] * 6
        await asyncio.gather(*(sandbox.destroy() for sandbox in sandboxes))
    finally:
        await asyncio.gather(*(backend.close() for backend in backends))
    assert not [name for name in os.listdir(tmp_path / "data" / "base") if name.endswith(".making")]
