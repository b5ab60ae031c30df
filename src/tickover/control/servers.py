"""MCP servers that are programs: installed once, started beside the agent, ended with it.

Each is in a sandbox of its own, which shares no folder with the agent's, under another uid, with a way out of its own
(identity `server`). Its input and output are pipes that end in the gateway's process: the agent asks there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tickover.control.house import House
from tickover.control.network import Way, Ways
from tickover.control.record import Recorder
from tickover.core.event import FindingReported
from tickover.core.finding import FindingCode, found
from tickover.core.program import Program
from tickover.core.receipt import Identity
from tickover.core.text import one_line
from tickover.gateway.credential import PLACEHOLDER
from tickover.sandbox.base import Exit, ResourceLimits, Sandbox, SandboxSpec
from tickover.workspace.folders import Folders
from tickover.workspace.layer import Layers, Setup, host_base
from tickover.workspace.program import ENVIRONMENT, new_name
from tickover.workspace.shelf import Shelf

_KIND: Final = "servers"
_UID: Final = 1001
_LIMITS: Final = ResourceLimits(memory=1 << 30, cpus=1.0, pids=128, disk=1 << 30)
_SETUP_LIMITS: Final = ResourceLimits(memory=2 << 30, cpus=2.0, pids=256, disk=4 << 30)
_SETUP_S: Final = 900.0
_FOREVER_S: Final = 100 * 365 * 86400.0  # its author says which version: another text is another layer
_TAIL: Final = 4096


async def server_layers(
    house: House, program: Program, folders: Folders, ways: Ways, teardown: AsyncExitStack
) -> tuple[Path, ...]:
    """Return the layers that a program is in, built now unless they are there; held until `teardown`.

    Raises SetupFailed, and what a sandbox and the way to the registries raise.
    """
    if program.setup is None:
        return ()
    setup = Setup(script=program.setup, base=host_base(), network=("packages",), refresh_s=_FOREVER_S)
    held = Shelf(house.data / "layers" / _KIND).get(setup.key())
    if held is None:
        async with ways.registries() as way:
            layers = Layers(house.data, way, folders, kind=_KIND)
            held, _ = await layers.get(setup, limits=_SETUP_LIMITS, timeout_s=_SETUP_S)
    teardown.callback(held.close)
    return (held.path,)


@asynccontextmanager
async def beside(
    agent: Way, ways: Ways, layers: Mapping[str, tuple[Path, ...]], record: Recorder
) -> AsyncIterator[AsyncExitStack]:
    """Start every program, so that the agent can ask it; yield what ends them all. Idempotent.

    One that ends sooner is a finding; the agent hears of it as an error of its calls. Raises as a sandbox's start does.
    """
    async with AsyncExitStack() as stack:
        for name, program in ways.programs.items():
            way = await stack.enter_async_context(ways.open(Identity.SERVER, ways.program(name)))
            sandbox = await way.start(_spec(name, program, layers.get(name, ())))
            stack.push_async_callback(sandbox.destroy)
            await agent.attach(name, sandbox.talking())
            watching = asyncio.create_task(_watch(name, sandbox, record))
            stack.push_async_callback(_over, watching)
        yield stack


def _spec(name: str, program: Program, layers: tuple[Path, ...]) -> SandboxSpec:
    placeholders = {variable: f"{PLACEHOLDER}-{each}" for variable, each in program.credentials.items()}
    return SandboxSpec(
        name=new_name(f"server-{name[:24]}"),
        argv=program.command,
        env={**ENVIRONMENT, **program.env, **placeholders},
        cwd="/home/agent",
        layers=layers,
        limits=_LIMITS,
        uid=_UID,
        talks=True,
    )


async def _watch(name: str, sandbox: Sandbox, record: Recorder) -> None:
    """Read what a program complains of; if it ends before it is ended, the run says so."""
    said = b""
    async for _, piece in sandbox.stream():
        said = (said + piece)[-_TAIL:]
    ended = await sandbox.wait()
    if ended.reason != "killed":
        await record.add(FindingReported.of(found(FindingCode.CONNECTOR_FAILED, _why(name, ended, said))))


def _why(name: str, ended: Exit, said: bytes) -> str:
    how = f"with exit code {ended.code}" if ended.reason == "exited" else f"({ended.reason})"
    last = one_line(said.decode("utf-8", "replace").strip().rpartition("\n")[2], 200)
    return f"the MCP server `{name}` ended {how}" + (f": {last}" if last else "")


async def _over(watching: asyncio.Task[None]) -> None:
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
