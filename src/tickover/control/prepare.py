"""Everything before the agent's first action: what exactly runs, and the folders it runs in.

`resolve` pins: commits, checks, skill, blocks, version, and asks `only_if`. `prepare` makes the layer, the checkout
and the state folder, each in its phase.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import JsonValue

from tickover.agents.base import Agent, Block, Skill
from tickover.control.agent import build_of, installed, skill_of, trusted_words
from tickover.control.dispatch import Accepted
from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.network import Ways
from tickover.control.outreach import resolve_refs
from tickover.control.record import Recorder
from tickover.control.servers import server_layers
from tickover.control.walk import Walk
from tickover.core.cassette import Pinned
from tickover.core.definition import Routine
from tickover.core.errors import TickoverError
from tickover.core.event import FindingReported, LayerReady, VersionResolved
from tickover.core.finding import FindingCode, found
from tickover.core.receipt import Identity
from tickover.core.status import Phase
from tickover.core.text import one_line
from tickover.routines.skill import IN_REPOSITORY, find_skill
from tickover.routines.skill import Skill as Found
from tickover.routines.steps import steps_of
from tickover.routines.version import checks_of, resolve_version
from tickover.sandbox.base import BackendReport, Bind, ResourceLimits, SandboxRefused
from tickover.workspace.base import Commit, TrustedFile, Workspace
from tickover.workspace.checkout import Checkouts, mirror_target
from tickover.workspace.folders import Folders
from tickover.workspace.layer import Layers, Setup, SetupFailed, declared_files, host_base
from tickover.workspace.state import unpack
from tickover.workspace.tree import Tree


@dataclass(frozen=True, slots=True)
class Resolved:
    """What exactly runs: fixed before anything is spent."""

    subject: Mapping[str, Commit]
    trusted: Mapping[str, Commit]
    trees: Mapping[str, Tree]
    """The trusted commit of each repository."""
    pinned: Mapping[str, bytes]
    """The routine's `checks/`: path below it -> bytes."""
    skill: Skill | None
    blocks: tuple[Block, ...]
    version: str
    report: BackendReport
    agent: Agent
    build: str
    """Exactly what works, with its version where it has one."""
    trusted_words: Mapping[str, bytes]
    """What the trusted commit tells agents: CLAUDE.md and `.claude/`."""

    async def trusted_files(self, globs: Sequence[str]) -> Sequence[TrustedFile]:
        """Return the files of the one repository's trusted commit that `globs` name."""
        [tree] = self.trees.values()
        return await tree.matching(globs)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where the agent works."""

    resolved: Resolved
    layers: tuple[Path, ...]
    workspace: Workspace
    folders: Folders
    program: str
    """The agent's installed program inside; "" for one that needs none."""
    servers: Mapping[str, tuple[Path, ...]]
    """The layers of each MCP server that is a program."""
    state: str | None
    """Digest of the state the run began from; None: there was none, or the routine keeps none."""


def machine_limits(routine: Routine) -> ResourceLimits:
    """Return what one sandbox of this routine may use."""
    limits = routine.limits
    return ResourceLimits(int(limits.memory), float(limits.cpus), limits.pids, int(limits.disk))


def mirrors_shown(resolved: Resolved) -> tuple[Bind, ...]:
    """Return what shows our mirrors at /repo/NAME.git."""
    return tuple(Bind(commit.mirror, mirror_target(name)) for name, commit in resolved.subject.items())


async def resolve(house: House, accepted: Accepted, record: Recorder, kept: Kept) -> Resolved:
    """Pin everything, and journal the version. Raises TickoverError."""
    routine = accepted.routine
    report, (subject, trusted) = await asyncio.gather(house.report(), _commits(house, accepted, record, kept))
    if not report.usable:
        weak = ", ".join(c.name for c in report.capabilities if not c.in_force)
        raise SandboxRefused("sandbox.weak", f"the sandbox here is weaker than asked: {weak}", hint=report.hint)
    trees = {name: Tree(house.mirrors.git, commit.mirror, commit.sha) for name, commit in trusted.items()}
    own = accepted.loaded.tree
    pinned = {f.path.removeprefix("checks/"): own.read(f.path) or b"" for f in own.list("checks")}
    found = await _skill(accepted, trees)
    blocks = _blocks(accepted, found) if routine.agent_name == "steps" else ()
    agent = house.agent(routine.agent_name)
    build = build_of(house.data, agent, routine.agent_version)
    version = resolve_version(
        accepted.loaded.raw,
        routine.environment,
        skill=found.tree if found else None,
        checks=checks_of(own),
        agent_build=build,
    )
    await record.add(
        VersionResolved(
            routine_version=version,
            trusted={name: commit.sha for name, commit in trusted.items()},
            subject={name: commit.sha for name, commit in subject.items()},
            agent_build=build,
        )
    )
    skill = skill_of(found) if found else None
    words = await trusted_words(trees) if agent.speaks else {}
    return Resolved(subject, trusted, trees, pinned, skill, blocks, version, report, agent, build, words)


def _blocks(accepted: Accepted, skill: Found | None) -> tuple[Block, ...]:
    steps = steps_of(accepted.loaded, skill)
    return tuple(Block(s.id, s.lang, s.code, one_line(s.title), float(s.timeout) if s.timeout else None) for s in steps)


def _state(house: House, accepted: Accepted) -> str | None:
    """Return the digest of the state that the run begins with."""
    if accepted.request.replay is not None:
        return accepted.request.replay.state
    current = house.store.states.current(accepted.routine.name)
    return current.digest if current else None


def _recorded(house: House, pinned: Mapping[str, Pinned]) -> dict[str, Commit]:
    """Return recorded commits from our mirrors, without asking anybody. Raises TickoverError `repository.gone`."""
    found: dict[str, Commit] = {}
    for name, each in pinned.items():
        commit = house.mirrors.known(each.url, each.sha)
        if commit is None:
            raise TickoverError("repository.gone", f"the mirror of {each.url} has no commit {each.sha[:12]} any more")
        found[name] = replace(commit, branch=each.branch, default_branch=each.default_branch)
    return found


async def _commits(
    house: House, accepted: Accepted, record: Recorder, kept: Kept
) -> tuple[dict[str, Commit], dict[str, Commit]]:
    if (replay := accepted.request.replay) is not None:
        return _recorded(house, replay.subject), _recorded(house, replay.trusted)
    subject: dict[str, Commit] = {}
    trusted: dict[str, Commit] = {}
    for name, repository in accepted.routine.repositories.items():
        # The trusted commit first, and both of one moment: what judges is never younger than what is judged.
        trusted[name], subject[name] = await resolve_refs(
            house, accepted.routine, record, kept, repository.url, [repository.trusted_ref, repository.ref]
        )
    return subject, trusted


async def _skill(accepted: Accepted, trees: Mapping[str, Tree]) -> Found | None:
    name = accepted.routine.skill
    if name is None:
        return None
    places = [place.format(name=name) for place in IN_REPOSITORY]
    repositories = [(repo, await tree.load(*places)) for repo, tree in trees.items()]
    return find_skill(name, accepted.loaded.tree, repositories)


async def prepare(
    house: House,
    accepted: Accepted,
    resolved: Resolved,
    record: Recorder,
    walk: Walk,
    ways: Ways,
    teardown: AsyncExitStack,
) -> Prepared:
    """Make the folders, each in its phase; they are held until `teardown`."""
    routine = accepted.routine
    folders = Folders(house.data, house.backend)
    layers: tuple[Path, ...] = ()
    program = ""
    if resolved.agent.package is not None:
        async with walk.timed(Phase.LAYER):
            layer, program = await walk.unless_cancelled(
                installed(house, resolved.build, resolved.agent, ways, teardown)
            )
            layers = (layer,)
    if routine.environment.setup.run is not None:
        async with walk.timed(Phase.LAYER):
            layer = await walk.unless_cancelled(_layer(house, routine, resolved, folders, record, ways, teardown))
            layers = (*layers, layer)
    servers = {}
    for name, server in ways.programs.items():
        async with walk.timed(Phase.LAYER):
            servers[name] = await walk.unless_cancelled(server_layers(house, server, folders, ways, teardown))
    async with walk.timed(Phase.CLONE):
        current = _state(house, accepted) if routine.state else None
        state = await unpack(folders, current, house.blobs.open) if routine.state else None
        if state is not None:
            teardown.callback(state.close)
        checkouts = Checkouts(house.data, house.backend, folders)
        workspace = await walk.unless_cancelled(
            teardown.enter_async_context(
                checkouts.workspace(
                    resolved.subject, state=state.path if state else None, empty=list(routine.artifacts)
                )
            )
        )
    return Prepared(resolved, layers, workspace, folders, program, servers, current)


async def _layer(
    house: House,
    routine: Routine,
    resolved: Resolved,
    folders: Folders,
    record: Recorder,
    ways: Ways,
    teardown: AsyncExitStack,
) -> Path:
    environment = routine.environment
    setup = Setup(
        script=environment.setup.run or "",
        files=await declared_files(resolved.trees, environment.setup.files),
        base=host_base() if environment.base == "host" else environment.base,
        network=environment.network,
        env=environment.env,
        credentials=environment.credentials,
        refresh_s=math.inf if house.offline else float(environment.setup.refresh),
    )

    async def known() -> list[str]:
        return [entry.path for tree in resolved.trees.values() for entry in await tree.entries()]

    timeout = float(routine.limits.timeout)
    limits = machine_limits(routine)
    try:
        async with ways.open(Identity.SETUP, ways.setup) as way:
            layers = Layers(house.data, way, folders)
            held, result = await layers.get(setup, limits=limits, timeout_s=timeout, known_paths=known)
    except SetupFailed as error:
        log = await asyncio.to_thread(house.blobs.put, error.output)
        detail: dict[str, JsonValue] = {"log_blob": log, "line": error.line}
        await record.add(FindingReported.of(found(FindingCode.STEP_FAILED, "the setup script failed", detail=detail)))
        raise
    teardown.callback(held.close)
    log = await asyncio.to_thread(house.blobs.put, result.output)
    await record.add(
        LayerReady(key=result.key, built=result.built, duration_s=result.duration_s, bytes=result.size, log_blob=log)
    )
    return result.path
