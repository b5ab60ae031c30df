"""The agent `command`: any program, started as it is. What it writes is a transcript, nothing more."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import ClassVar

from tickover.agents.base import (
    AGENTS_OWN,
    AgentExit,
    AgentFact,
    AgentPlan,
    AgentTask,
    ModelAt,
    Package,
    Parser,
    Stream,
)
from tickover.agents.briefing import environment, input_files
from tickover.agents.ending import ended
from tickover.agents.output import OutputLog
from tickover.core.errors import UsageError
from tickover.core.network import Reach


class CommandParser:
    """Keeps the output as it comes; invalid UTF-8 is replaced."""

    def __init__(self, output_limit: int) -> None:
        self._log = OutputLog(output_limit)
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}

    def feed(self, stream: Stream, data: bytes) -> list[AgentFact]:
        return self._log.add(stream, self._decoders[stream].decode(data))

    def flush(self) -> list[AgentFact]:
        return self._log.flush()

    def finish(self, exit_: AgentExit) -> list[AgentFact]:
        streams: tuple[Stream, Stream] = ("stdout", "stderr")
        rest = [fact for name in streams for fact in self._log.add(name, self._decoders[name].decode(b"", final=True))]
        return [*rest, *self._log.close(), ended(exit_)]


class Agent:
    """Runs `argv`."""

    name: ClassVar[str] = "command"
    package: ClassVar[Package | None] = None
    speaks: ClassVar[bool] = False
    build = "command@1"

    def reach(self, env: Mapping[str, str], model: ModelAt = AGENTS_OWN) -> Reach:
        del env, model
        return Reach()

    def plan(self, task: AgentTask) -> AgentPlan:
        if not task.argv or not task.argv[0]:
            raise UsageError("agent.no_argv", "`agent: command` needs `argv`, the program and its arguments")
        return AgentPlan(argv=task.argv, env=environment(task), files=input_files(task), cwd=task.workspace)

    def parser(self, task: AgentTask) -> Parser:
        return CommandParser(task.output_limit)
