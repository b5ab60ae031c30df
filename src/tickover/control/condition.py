"""`only_if`: a pinned command, asked before anything is spent. 0 runs, 10 skips, anything else is a failure."""

from __future__ import annotations

from typing import Final

from tickover.checks.command import last_word
from tickover.control.dispatch import Accepted
from tickover.control.failure import Ended, Skipped
from tickover.control.hands import run_line
from tickover.control.house import House
from tickover.control.prepare import Resolved, mirrors_shown
from tickover.core.cause import CauseCode
from tickover.core.status import Execution

_SKIP: Final = 10
_TIMEOUT: Final = 60.0


async def only_if(house: House, accepted: Accepted, resolved: Resolved, run: str) -> None:
    """Ask. Raises Skipped, or Ended where the question could not be answered."""
    condition = accepted.routine.only_if
    if condition is None:
        return
    said = await run_line(
        house, accepted.routine, resolved, run, condition.run, timeout_s=_TIMEOUT, binds=mirrors_shown(resolved)
    )
    if said.ended == "exited" and said.exit == 0:
        return
    if said.ended == "exited" and said.exit == _SKIP:
        raise Skipped(last_word(said))
    why = f"exit {said.exit}: {last_word(said)}" if said.ended == "exited" else f"{said.ended}: {said.message}"
    raise Ended(Execution.FAILED, CauseCode.CONDITION_FAILED, why)
