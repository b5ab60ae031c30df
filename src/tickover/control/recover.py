"""What a killed process left: every unfinished run is settled from its journal, before anything new starts.

Runs of the queue are not touched here: they wait for a server, whose `control/step.py` goes on with them.
"""

from __future__ import annotations

from typing import Final

from tickover.control.house import House
from tickover.control.keep import TTL
from tickover.control.record import Recorder
from tickover.control.settle import settle
from tickover.core.cause import CauseCode
from tickover.core.errors import TickoverError
from tickover.core.event import FindingReported, RunRecovered
from tickover.core.finding import FindingCode, found
from tickover.core.status import Execution
from tickover.store.base import LeaseHeldError

_HINT: Final = "start the routine again; what it did outside may be done already"


async def recover(house: House) -> list[str]:
    """Settle every unfinished run that no living process holds; return their ids."""
    settled = []
    for record in house.store.runs.list(finished=False, limit=10_000):
        if record.row.get("queued"):
            continue
        held = house.store.leases.current(record.run)
        if held is not None and not house.is_gone(held.owner):
            continue
        try:
            lease = house.store.leases.acquire(record.run, house.owner, TTL, dead=held)
        except LeaseHeldError:
            continue
        recorder = Recorder(house.store.journal, house.store.runs, lease)
        try:
            await _settle(recorder)
            settled.append(record.run)
        except TickoverError:  # a damaged journal stays as it is, and keeps nobody from working
            continue
        finally:
            house.store.leases.release(lease)
    return settled


async def _settle(record: Recorder) -> None:
    row = record.row()
    record.attempt = row.attempt
    await record.add(RunRecovered(note="the process that worked on it is gone"))
    if row.agent_started and row.outcome is None:
        await record.add(FindingReported.of(found(FindingCode.RECOVERED)))
    await settle(record, Execution.LOST, CauseCode.LOST, _HINT)
