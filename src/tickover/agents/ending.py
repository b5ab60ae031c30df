"""How an agent's process ended, as the one fact `agent_finished`. A clean exit is still only a claim."""

from __future__ import annotations

from tickover.agents.base import AgentExit
from tickover.core.cause import CauseCode
from tickover.core.event import AgentFinished
from tickover.core.status import AgentStatus

_SAYS = {
    "memory": "the memory limit was reached",
    "disk": "the disk limit was reached",
    "killed": "it was stopped from outside",
    "timed_out": "it ran into the time limit",
    "broken": "the sandbox failed under it",
}


def ended(exit_: AgentExit, *, failure: str = "", cause: CauseCode | None = None) -> AgentFinished:
    """Say how it ended. `failure` is the adapter's own reason why an exit code of 0 is no success, `cause` its kind."""
    match exit_.reason:
        case "exited":
            failed = exit_.code != 0 or bool(failure)
            status = AgentStatus.FAILED if failed else AgentStatus.COMPLETED
            reason = failure or (f"exit code {exit_.code}" if failed else "")
            return AgentFinished(status=status, exit=exit_.code, reason=reason, cause=cause if failed else None)
        case "signalled":
            signal = exit_.code - 128
            reason = failure or f"signal {signal}"
            return AgentFinished(status=AgentStatus.KILLED, signal=signal, reason=reason, cause=cause)
        case "timed_out":
            return AgentFinished(status=AgentStatus.TIMED_OUT, reason=_SAYS[exit_.reason])
        case "broken":
            return AgentFinished(status=AgentStatus.FAILED, reason=_SAYS[exit_.reason])
        case "memory" | "disk" | "killed":
            return AgentFinished(status=AgentStatus.KILLED, reason=_SAYS[exit_.reason])
