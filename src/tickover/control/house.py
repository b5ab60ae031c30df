"""The ports that the main path works with, made once by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tickover.agents.base import Agent
from tickover.checks.base import Check
from tickover.control.keep import TTL
from tickover.core.instance import Instance
from tickover.core.network import Preset
from tickover.gateway.packages import Packages
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
    instance: Callable[[], Instance]
    """The instance's configuration as it is now. Raises DefinitionErrors."""
    presets: Callable[[], Mapping[str, Preset]]
    """Hosts under one name."""
    packages: Callable[[], Awaitable[Packages]]
    """The registries of this machine's package managers, asked of them. Raises TickoverError."""
    gateway: Gateway
    """The only process that lets anything out of a sandbox."""
    offline: bool = False
    """Whether nothing outside may be asked at all: a replay."""
    lease_s: float = TTL
    """Seconds that a run's lease lives without being renewed."""
