"""No sandbox at all: for a process that was opened to read, and to ask something by the gateway, without one."""

from __future__ import annotations

from typing import NoReturn

from tickover.sandbox.base import BackendReport, SandboxRefused, SandboxSpec


class Nowhere:
    """A backend that starts nothing."""

    name = "none"

    async def start(self, spec: SandboxSpec) -> NoReturn:
        raise SandboxRefused("sandbox.none", f"{spec.name} cannot start: this process was opened without a sandbox")

    async def report(self) -> BackendReport:
        return BackendReport("none", "none", usable=False, capabilities=(), not_protected=())

    async def close(self) -> None:
        """Nothing was begun."""
