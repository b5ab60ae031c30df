"""How an agent asks whether it may stop: a small program inside (`inside/bell.py`), for hooks and for our runners."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final

from tickover.agents.base import OURS, AgentTask

RINGER: Final = f"{OURS}/bell.py"
PATIENCE: Final = 3600.0
"""Seconds that an answer may take: checks are asked meanwhile, each with a timeout of its own."""


@cache
def _program() -> bytes:
    return resources.files("tickover.agents.inside").joinpath("bell.py").read_bytes()


def ringer(task: AgentTask) -> dict[str, bytes]:
    """Return the program as a file of ours, where there is a bell."""
    return {RINGER: _program()} if task.bell else {}


def ring(task: AgentTask) -> tuple[str, ...]:
    """Return the command that rings."""
    return ("/usr/bin/python3", "-I", RINGER, task.bell, f"{PATIENCE:g}")
