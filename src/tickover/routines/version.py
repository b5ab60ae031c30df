"""A routine's version: one digest over all that decides what a run does."""

from __future__ import annotations

import hashlib
import json

from tickover.core.definition import Environment
from tickover.core.tree import Tree
from tickover.routines.tree import SubTree

FORMAT = 1
"""Raised when the same files would mean something else."""


def resolve_version(
    raw: bytes, environment: Environment, *, skill: Tree | None, checks: Tree | None, agent_build: str
) -> str:
    """Digest ROUTINE.md's bytes, the resolved environment, the trees of skill and checks, and the agent's build.

    Returns 64 hexadecimal digits, equal for equal content wherever the trees are kept: a file counts by its path,
    git's mode and its bytes.
    """
    content = {
        "format": FORMAT,
        "routine": _sha256(raw),
        "environment": environment.model_dump(mode="json", by_alias=True),
        "skill": None if skill is None else _entries(skill),
        "checks": [] if checks is None else _entries(checks),
        "agent": agent_build,
    }
    return _sha256(canonical(content))


def checks_of(tree: Tree) -> Tree:
    """Return the `checks/` of a routine's folder."""
    return SubTree(tree, "checks")


def canonical(value: object) -> bytes:
    """Write JSON in the one way that equal values have: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _entries(tree: Tree) -> list[tuple[str, int, str]]:
    return [(path, mode, _sha256(tree.read(path) or b"")) for path, mode in tree.list()]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
