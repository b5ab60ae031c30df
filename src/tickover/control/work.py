"""The agent's turn: start it in its sandbox, journal all it says, and end it when its time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from typing import Final

from tickover.agents.base import AgentExit, AgentFact, AgentTask, Forward, Offer, Parser
from tickover.control.agent_model import model_at
from tickover.control.dispatch import Accepted
from tickover.control.gate import BELL, StopGate
from tickover.control.keep import Kept
from tickover.control.network import Ways, in_force
from tickover.control.own_tools import OwnTools
from tickover.control.prepare import Prepared, machine_limits
from tickover.control.record import Recorder
from tickover.control.servers import beside
from tickover.control.still import Still
from tickover.control.verify import Judge
from tickover.control.watchdog import Watchdog
from tickover.core.cause import Cause, CauseCode
from tickover.core.check import OutputCheck
from tickover.core.definition import Routine
from tickover.core.egress import Egress
from tickover.core.event import AgentFinished, AgentStarted, FindingReported, SandboxStarted
from tickover.core.finding import FindingCode, found
from tickover.core.gate import gated
from tickover.core.host import INTERNAL
from tickover.core.mcp import PATH as MCP
from tickover.core.metering import Budget
from tickover.core.own_tools import URL
from tickover.core.receipt import Identity
from tickover.core.status import AgentStatus, Execution, Phase
from tickover.core.wanted import RequiredTool
from tickover.sandbox.base import Exit, Sandbox, SandboxSpec
from tickover.workspace.base import UPPER, Workspace

_FLUSH: Final = 0.2  # seconds between two flushes of a live transcript
_TOLD: Final = (CauseCode.MODEL_OVERLOADED, CauseCode.BUDGET)
"""Causes that an agent's own word is enough for: they decide about another attempt, never about the work."""
_LIMITS: Final = {"memory": FindingCode.MEMORY_LIMIT, "disk": FindingCode.DISK_LIMIT}
PATH: Final = "/home/agent/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
PLAIN_ENV: Final = {"PATH": PATH, "HOME": "/home/agent", "USER": "agent", "LANG": "C.UTF-8", "TERM": "dumb"}


@dataclass(frozen=True, slots=True)
class Worked:
    """What is left when the agent is gone."""

    workspace: Workspace
    execution: Execution
    cause: Cause | None


async def work(
    accepted: Accepted,
    prepared: Prepared,
    record: Recorder,
    kept: Kept,
    ways: Ways,
    teardown: AsyncExitStack,
    judge: Judge,
    required: tuple[RequiredTool, ...],
) -> Worked:
    """Run the agent to its end, whatever that is."""
    routine = accepted.routine
    agent = prepared.resolved.agent
    dog = Watchdog(routine.watch) if agent.speaks else None
    still = Still(prepared.workspace, dog)
    own = OwnTools(routine, prepared.folders, still)
    gate = StopGate(judge, record, still, own) if gated(routine) else None
    task = AgentTask(
        boundary=accepted.boundary,
        prompt=routine.body,
        task=routine.task,
        skill=prepared.resolved.skill,
        blocks=prepared.resolved.blocks,
        argv=tuple(routine.argv or ()),
        inputs=accepted.inputs,
        files=accepted.files,
        event=accepted.request.event,
        env=routine.environment.env,
        output_limit=int(routine.limits.output),
        program=prepared.program,
        model=routine.model if isinstance(routine.model, str) else "",
        model_at=model_at(routine),
        replace_system_prompt=routine.system_prompt == "replace",
        trusted=prepared.resolved.trusted_words,
        schema=_schema(routine, prepared),
        bell=BELL if gate is not None else "",
        offers=offers_of(ways.agent),
        own_tools=URL if own.names else "",
        forward=None if routine.remote is None else Forward(routine.remote.to, routine.remote.url or ""),
    )
    plan = agent.plan(task)
    spec = SandboxSpec(
        name=f"{record.run}-{record.attempt}",
        argv=plan.argv,
        env={**PLAIN_ENV, "TICKOVER_RUN": accepted.inside, **plan.env},
        cwd=plan.cwd,
        layers=prepared.layers,
        overlays=(prepared.workspace.overlay(),),
        binds=prepared.workspace.repositories,
        files=plan.files,
        limits=machine_limits(routine),
    )
    way = await teardown.enter_async_context(ways.open(Identity.AGENT, ways.agent))
    way.bell = gate.rung if gate is not None else None
    way.use = own.use
    servers = await teardown.enter_async_context(beside(way, ways, prepared.servers, record))
    sandbox = await way.start(spec)
    teardown.push_async_callback(sandbox.destroy)
    still.watch(sandbox)
    started = _started(prepared, spec, in_force(ways.agent), ways.agent.budget)
    await record.add(started, AgentStarted(build=prepared.resolved.build, required=required))
    parser = agent.parser(task)
    reader = asyncio.create_task(_read(sandbox, parser, record, dog))
    flusher = asyncio.create_task(_flush(reader, parser, record))
    gone = asyncio.create_task(kept.gone.wait())
    silent = asyncio.create_task(dog.silent() if dog else asyncio.Event().wait())
    stopped = ""
    try:
        timeout = float(routine.limits.timeout)
        await asyncio.wait({reader, gone, silent}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not reader.done():
            stalled = str(silent.result()) if silent.done() else "timed_out"
            stopped = "cancelled" if kept.gone.is_set() else stalled
            await sandbox.kill()
        await asyncio.gather(reader, flusher)
        ended = await sandbox.wait()
        await servers.aclose()
        await way.close()  # what it saw is in the journal before anything is judged
        if way.broken.is_set():
            stopped = "cut off"
    finally:
        for running in (reader, flusher, gone, silent):
            running.cancel()
        await asyncio.gather(reader, flusher, gone, silent, return_exceptions=True)
    late = stopped not in {"", "cancelled", "cut off"}
    facts = parser.finish(AgentExit(ended.code, "timed_out" if late else ended.reason))
    await record.add(*facts, *_limit_findings(ended))
    left = replace(prepared.workspace, upper=sandbox.upper(UPPER))
    workspace = await teardown.enter_async_context(own.laid_over(left))
    execution, cause = _how(ended, stopped, way.why, facts)
    if cause is not None and cause.cause is CauseCode.AGENT_FAILED and way.starved is not None:
        cause = way.starved  # what it failed of; what it says of it is its own
    return Worked(workspace, execution, cause)


async def _read(sandbox: Sandbox, parser: Parser, record: Recorder, dog: Watchdog | None) -> None:
    async for stream, piece in sandbox.stream():
        facts = parser.feed(stream, piece)
        if dog is not None:
            dog.hear(facts)
        await record.add(*facts)


async def _flush(reader: asyncio.Task[None], parser: Parser, record: Recorder) -> None:
    while not reader.done():
        await asyncio.wait({reader}, timeout=_FLUSH)
        await record.add(*parser.flush())


def offers_of(egress: Egress) -> tuple[Offer, ...]:
    """Return the MCP servers that an agent is told of: it asks the gateway, and the gateway them."""
    return tuple(Offer(each.name, f"http://{INTERNAL}{MCP}{each.name}", each.required) for each in egress.servers)


def _started(prepared: Prepared, spec: SandboxSpec, network: str, budget: Budget) -> SandboxStarted:
    report = prepared.resolved.report
    limits = {name: value for name in ("memory", "cpus", "pids", "disk") if (value := getattr(spec.limits, name))}
    return SandboxStarted(
        backend=report.backend,
        tier=report.tier,
        network=network,
        protections=tuple(c.name for c in report.capabilities if c.in_force),
        weaknesses=tuple(f"{c.name}: {c.detail}" for c in report.capabilities if not c.in_force),
        limits={**limits, **{name: value for name, value in asdict(budget).items() if value is not None}},
    )


def _limit_findings(ended: Exit) -> list[FindingReported]:
    code = _LIMITS.get(ended.reason)
    return [] if code is None else [FindingReported.of(found(code))]


def _how(ended: Exit, stopped: str, why: str, facts: Sequence[AgentFact]) -> tuple[Execution, Cause | None]:
    """Say what became of the process. None of it is about the work."""
    if stopped == "timed_out":
        return Execution.TIMED_OUT, Cause(Phase.AGENT, CauseCode.TIMEOUT, "raise `limits.timeout`, or do less")
    if stopped == "cancelled":
        return Execution.CANCELLED, Cause(Phase.AGENT, CauseCode.CANCELLED)
    if stopped == "cut off":
        return Execution.FAILED, Cause(Phase.AGENT, CauseCode.INFRASTRUCTURE, why)
    if stopped:
        return Execution.TIMED_OUT, Cause(Phase.AGENT, CauseCode.STALLED, stopped)
    if ended.reason == "broken":
        return Execution.FAILED, Cause(Phase.AGENT, CauseCode.INFRASTRUCTURE, ended.message)
    if ended.reason in _LIMITS:
        return Execution.FAILED, Cause(Phase.AGENT, CauseCode.LIMIT, f"raise `limits.{ended.reason}`, or use less")
    last = next((fact for fact in reversed(facts) if isinstance(fact, AgentFinished)), None)
    if last is not None and last.status is AgentStatus.COMPLETED:
        return Execution.COMPLETED, None
    why = last.reason if last else ""
    if last is not None and last.cause is CauseCode.LOST:
        return Execution.LOST, Cause(Phase.AGENT, CauseCode.LOST, why)
    code = last.cause if last is not None and last.cause in _TOLD else CauseCode.AGENT_FAILED
    return Execution.FAILED, Cause(Phase.AGENT, code, why)


def _schema(routine: Routine, prepared: Prepared) -> str:
    """Return the JSON Schema that the first `output` check compares the agent's result with, "" if there is none."""
    path = next((check.schema_ for check in routine.expect if isinstance(check, OutputCheck)), None)
    return prepared.resolved.pinned.get(path, b"").decode("utf-8", "replace") if path is not None else ""
