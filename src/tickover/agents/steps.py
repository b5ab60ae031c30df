"""The agent `steps`: the fenced blocks of a routine, run in order by a small runner inside the sandbox. No model.

The runner (`inside/steps.py`) writes one JSON object per line. Its stdout is open to every block, so any of these
lines may be forged: they order a transcript and prove nothing. How the run ended is taken from the exit code.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, ClassVar

from tickover.agents.base import (
    AGENTS_OWN,
    OURS,
    AgentExit,
    AgentFact,
    AgentPlan,
    AgentTask,
    Block,
    ModelAt,
    Package,
    Parser,
    Stream,
)
from tickover.agents.briefing import environment, input_files
from tickover.agents.ending import ended
from tickover.agents.output import LineSplitter, OutputLog
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import UsageError
from tickover.core.event import AgentFinished, AgentStep, FindingReported
from tickover.core.finding import FindingCode, found
from tickover.core.network import Reach
from tickover.core.status import AgentStatus

RUNNER = f"{OURS}/steps.py"
STEPS = f"{OURS}/steps.json"
_SUFFIX = {"bash": "bash", "sh": "sh", "python": "py", "js": "js"}
_MOST = 1 << 60  # bytes that a line may say were dropped
_MARK = b'{"tickover"'
_STREAMS: dict[object, Stream] = {"stdout": "stdout", "stderr": "stderr"}


@cache
def _runner() -> bytes:
    return resources.files("tickover.agents.inside").joinpath("steps.py").read_bytes()


class StepsParser:
    """Reads the runner's lines; whatever is no line of the runner is the agent's output, and shown as such."""

    def __init__(self, blocks: tuple[Block, ...], output_limit: int) -> None:
        self._blocks = blocks
        self._log = OutputLog(output_limit)
        self._lines = LineSplitter(_MARK)
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}
        self._ended: list[AgentStep] = []
        self._last_word = False
        self._failure = ""

    def feed(self, stream: Stream, data: bytes) -> list[AgentFact]:
        if stream == "stderr":
            return self._raw(stream, data)
        return [fact for piece, whole in self._lines.feed(data) for fact in self._line(piece, whole)]

    def flush(self) -> list[AgentFact]:
        return self._log.flush()

    def finish(self, exit_: AgentExit) -> list[AgentFact]:
        facts = [fact for piece, _ in self._lines.finish() for fact in self._raw("stdout", piece)]
        for stream in _STREAMS.values():
            facts += self._log.add(stream, self._decoders[stream].decode(b"", final=True))
        facts += self._log.close()
        if exit_.reason == "signalled" and self._last_word:  # the runner passes on a block's 128 + N as its own code
            exit_ = AgentExit(exit_.code)
        silent = exit_.reason == "exited" and not self._last_word
        if silent:
            facts.append(FindingReported.of(found(FindingCode.NO_RESULT_EVENT)))
        failure = "the runner ended without its last word" if silent else self._failure
        return [*facts, _believe_no_success(ended(exit_, failure=failure), len(self._ended), len(self._blocks))]

    def _raw(self, stream: Stream, data: bytes) -> list[AgentFact]:
        return self._log.add(stream, self._decoders[stream].decode(data))

    def _line(self, line: bytes, whole: bool) -> list[AgentFact]:
        message = _message(line) if whole else None
        facts = None if message is None else self._take(message)
        return self._raw("stdout", line) if facts is None else facts

    def _take(self, message: dict[str, Any]) -> list[AgentFact] | None:
        """Return the facts of a line of the runner; None if it cannot be one."""
        match message:
            case {"tickover": "output", "stream": "stdout" | "stderr" as name, "text": str(text)}:
                return self._log.add(_STREAMS[name], text)
            case {"tickover": "step", "id": name, "exit": int() | None as code, "seconds": int() | float() as seconds}:
                return self._step_ended(name, code, seconds, message.get("timed_out") is True)
            case {"tickover": "dropped", "stream": "stdout" | "stderr" as name, "bytes": int(size)} if 0 < size < _MOST:
                return self._log.drop(_STREAMS[name], size)
            case {"tickover": "end"} if not self._last_word:
                self._last_word = True
                return []
        return None

    def _step_ended(self, name: object, code: int | None, seconds: float, timed_out: bool) -> list[AgentFact] | None:
        done = len(self._ended)
        block = self._blocks[done] if done < len(self._blocks) else None
        if block is None or name != block.id or not 0 <= seconds < 1e9:
            return None
        if isinstance(code, bool) or (code is not None and not 0 <= code <= 255):
            return None
        ok = code == 0
        step = AgentStep(id=block.id, lang=block.lang, title=block.title, exit=code, duration_s=seconds, ok=ok)
        self._ended.append(step)
        facts = [*self._log.flush(), step]
        if ok:
            return facts
        how = f"ended with exit code {code}" if code is not None else "was killed"
        how = "ran into its time limit" if timed_out else how
        self._failure = self._failure or f"step `{block.id}` {how}"
        return [*facts, FindingReported.of(found(FindingCode.STEP_FAILED, self._failure, detail={"step": block.id}))]


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        message = read_json(line)
    except DocumentError:
        return None
    return message if isinstance(message, dict) else None


def _believe_no_success(finished: AgentFinished, done: int, wanted: int) -> AgentFinished:
    """Turn an exit code of 0 with a step that did not end, which cannot come from our runner, into a failure."""
    if finished.status is not AgentStatus.COMPLETED or done == wanted:
        return finished
    reason = f"{done} of {wanted} steps ended"
    return AgentFinished(status=AgentStatus.FAILED, exit=finished.exit, reason=reason)


class Agent:
    """Runs the task's blocks."""

    name: ClassVar[str] = "steps"
    package: ClassVar[Package | None] = None
    speaks: ClassVar[bool] = False

    @property
    def build(self) -> str:
        return f"steps@{hashlib.sha256(_runner()).hexdigest()[:12]}"

    def reach(self, env: Mapping[str, str], model: ModelAt = AGENTS_OWN) -> Reach:
        del env, model
        return Reach()

    def plan(self, task: AgentTask) -> AgentPlan:
        if not task.blocks:
            raise UsageError(
                "agent.no_blocks",
                "`agent: steps` has no block to run",
                hint="write a fenced block (bash, sh, python or js) into the routine's body or its skill",
            )
        code = {f"{OURS}/blocks/{_file(number, block)}": block.code for number, block in enumerate(task.blocks, 1)}
        steps = [
            {"id": block.id, "lang": block.lang, "file": file, "timeout": block.timeout_s}
            for block, file in zip(task.blocks, code, strict=True)
        ]
        plan = {"cwd": task.workspace, "output": task.output_limit, "steps": steps}
        files = {
            RUNNER: _runner(),
            STEPS: json.dumps(plan, indent=2).encode() + b"\n",
            **{target: text.encode("utf-8", "replace") for target, text in code.items()},
            **input_files(task),
        }
        argv = ("/usr/bin/python3", "-I", RUNNER, STEPS)
        return AgentPlan(argv=argv, env=environment(task), files=files, cwd=task.workspace)

    def parser(self, task: AgentTask) -> Parser:
        return StepsParser(task.blocks, task.output_limit)


def _file(number: int, block: Block) -> str:
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in block.id)[:64]
    return f"{number:02}-{name}.{_SUFFIX[block.lang]}"
