"""What the agent is: its build, the layer that holds it, and what the trusted commit and the skill bring along."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from tickover.agents.base import Agent, Skill
from tickover.control.house import House
from tickover.control.network import Ways
from tickover.core.errors import TickoverError, UsageError
from tickover.routines.skill import Skill as Found
from tickover.workspace.builds import Builds, program
from tickover.workspace.tree import Tree

_WORDS: Final = ("CLAUDE.md", "AGENTS.md", ".claude/**")
_MOST: Final = 4 << 20
"""Bytes that a skill, or what the trusted commit tells agents, may have: they are carried in memory."""


def build_of(data: Path, agent: Agent, version: str | None) -> str:
    """Return what exactly works. Raises UsageError where no version is pinned and none is installed."""
    if agent.package is not None:
        return f"{agent.build}@{Builds(data).version(agent.name, version)}"
    if version is not None:
        text = f"`{agent.name}` comes with Tickover: it has no versions of its own to pin"
        raise UsageError("agent.no_versions", text, hint=f"write `agent: {agent.name}`")
    return agent.build


async def installed(house: House, build: str, agent: Agent, ways: Ways, teardown: AsyncExitStack) -> tuple[Path, str]:
    """Return the layer that holds a build and its program inside; held until `teardown`.

    One that is not here is installed from the registry of this machine, by way of the gateway. Raises SetupFailed,
    DefinitionErrors where there is no way to a registry.
    """
    assert agent.package is not None
    version = build.rpartition("@")[2]
    held = Builds(house.data).find(agent.name, version)
    if held is None:
        async with ways.registries() as way:
            held = await Builds(house.data, way).get(agent.name, version, agent.package)
    teardown.callback(held.close)
    return held.path, program(agent.name, agent.package)


def skill_of(found: Found) -> Skill:
    """Return a skill with all of its folder. Raises TickoverError `skill.too_large`."""
    entries = [(file.path, file.mode, found.tree.read(file.path)) for file in found.tree.list()]
    files = {path: content for path, mode, content in entries if content is not None and mode != 0o120000}
    if sum(map(len, files.values())) > _MOST:
        raise TickoverError("skill.too_large", f"the skill `{found.name}` has more than {_MOST} bytes")
    return Skill(found.name, found.body, files, frozenset(path for path, mode, _ in entries if mode == 0o100755))


async def trusted_words(trees: Mapping[str, Tree]) -> Mapping[str, bytes]:
    """Return what the one repository's trusted commit tells agents; with several repositories nobody is asked.

    Raises TickoverError `agent.trusted_too_large`.
    """
    if len(trees) != 1:
        return {}
    [tree] = trees.values()
    files = {file.path: file.data for file in await tree.matching(_WORDS)}
    if sum(map(len, files.values())) > _MOST:
        text = f"CLAUDE.md and .claude/ of the trusted commit have more than {_MOST} bytes"
        raise TickoverError("agent.trusted_too_large", text)
    return files
