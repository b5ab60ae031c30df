"""What happens beside a run that has just begun cannot take it away."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from tickover.app import Tickover
from tickover.control.dispatch import RunRequest, accept
from tickover.control.execute import execute

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
