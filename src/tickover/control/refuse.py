"""A run by hand that a limit of its routine refuses: a row with the numbers, like every other refusal."""

from __future__ import annotations

import asyncio

from tickover.control.dispatch import Accepted
from tickover.control.house import House
from tickover.control.record import Observer, Recorder
from tickover.control.settle import finish
from tickover.core.admission import Refusal
from tickover.core.event import RunRefused
from tickover.core.row import RunRow


async def refuse(house: House, accepted: Accepted, refusal: Refusal, observe: Observer | None = None) -> RunRow:
    """End an accepted run as refused, and return its row."""
    record = Recorder(house.store.journal, house.store.runs, accepted.lease, observe)
    try:
        await record.add(RunRefused(cause=refusal.cause))
        return await finish(record)
    finally:
        await asyncio.to_thread(house.store.leases.release, accepted.lease)
