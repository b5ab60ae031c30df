"""The ports that the main path works with, made once by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tickover.agents.base import Agent
from tickover.checks.base import Check
from tickover.core.definition import Routine
from tickover.core.egress import Egress
from tickover.gateway.session import Gateway
from tickover.sandbox.base import Backend, BackendReport
from tickover.store.base import Blobs, Store
from tickover.workspace.mirror import Mirrors


@dataclass(frozen=True, slots=True)
class House:
    """Everything a run needs besides its own definition."""

    data: Path
    owner: str
    """Who holds the leases: a name that no later process can have."""
    is_gone: Callable[[str], bool]
    """Whether such a name's process has surely ended."""
    store: Store
    blobs: Blobs
    backend: Backend
    mirrors: Mirrors
    agent: Callable[[str], Agent]
    check: Callable[[str], Check[Any]]
    report: Callable[[], Awaitable[BackendReport]]
    """What the sandbox gives here; really started once."""
    gateway: Gateway
    egress: Callable[[Routine], Awaitable[Egress]]
    """What a routine may send, by its definition and this instance's configuration. Raises TickoverError."""
    trusted_roots: Callable[[], bytes]
    """The certificates that this machine trusts, as PEM."""
