from __future__ import annotations

import pytest

from tickover.agents.base import Agent, AgentExit, AgentTask
from tickover.agents.command import Agent as CommandAgent
from tickover.core.errors import UsageError
from tickover.core.event import AgentFinished, AgentOutput
from tickover.core.status import AgentStatus
from tickover.testing.agent_suite import AgentSuite, Output

TASK = AgentTask(boundary="0f1e2d3c", argv=("make", "report"), inputs={"text": "last"}, env={"LANG": "C.UTF-8"})


class TestConformance(AgentSuite):
    needs_last_word = False

    def agent(self) -> Agent:
        return CommandAgent()

    def task(self) -> AgentTask:
        return TASK

    def success(self) -> Output:
        return [("stdout", "grüße\n".encode()), ("stderr", b"two warnings\n")]


def test_argv_is_run_as_it_stands() -> None:
    assert CommandAgent().plan(TASK).argv == ("make", "report")


@pytest.mark.parametrize("argv", [(), ("",)])
def test_without_argv_there_is_nothing_to_run(argv: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as error:
        CommandAgent().plan(AgentTask(boundary="b", argv=argv))
    assert error.value.code == "agent.no_argv"


def test_terminal_escapes_stay_data() -> None:
    parser = CommandAgent().parser(TASK)
    parser.feed("stdout", b"\x1b[31mred\x1b[0m")
    *output, finished = parser.finish(AgentExit(139, "signalled"))
    assert output == [AgentOutput(stream="stdout", text="\x1b[31mred\x1b[0m")]
    assert finished == AgentFinished(status=AgentStatus.KILLED, signal=11, reason="signal 11")
