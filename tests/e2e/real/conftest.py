"""The real CLIs, installed once from this machine's registry of packages, and our loop; the model is the scripted model."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Bench, left_behind, until_idle

from tickover.app import Tickover
from tickover.core.errors import TickoverError
from tickover.gateway.certificates import RunAuthority
from tickover.testing.model import ScriptedModel

BUILDS = {"claude-code": "claude-code@2.1.197", "codex": "codex@0.169.0", "loop": "loop"}
_TOOLS = {"claude-code": ("Bash", "command"), "codex": ("exec_command", "cmd"), "loop": ("bash", "command")}


def says(agent: str, text: str, run: str = "", **more: Any) -> dict[str, Any]:
    """Return a turn of the scripted model: words, and a call of this agent's tool for a command."""
    tool, argument = _TOOLS[agent]
    return {"text": text, "tools": [{"name": tool, "input": {argument: run}}] if run else [], **more}


@dataclass
class Real:
    """A bench, and what it takes for an agent to ask a scripted model."""

    bench: Bench
    authority: RunAuthority

    @contextmanager
    def model(self, script: Any, *ports: int) -> Iterator[ScriptedModel]:
        """Serve a script; beside it these ports of localhost may be dialled, if their certificates are of `authority`."""
        with ScriptedModel(script, tls=self.authority.context("localhost")) as model:
            home = self.bench.tickover.home
            roots = self.bench.folder / "roots.pem"
            roots.write_bytes(self.authority.pem)
            private = [f"localhost:{port}" for port in (model.port, *ports)]
            network = {"private": private, "roots": [str(roots)]}
            (home / "tickover.yaml").write_text(json.dumps({"network": network}))
            yield model

    def routine(self, agent: str, model: ScriptedModel, **front: Any) -> Path:
        """Write a routine for an agent whose model is the scripted one."""
        at = f"https://localhost:{model.port}"
        environment = dict(front.pop("environment", {}))
        keys: dict[str, Any] = {"agent": BUILDS[agent]}
        if agent == "loop":
            keys["model"] = {"name": "scripted", "url": at, "wire": "anthropic"}
        elif agent == "codex":
            environment["env"] = {**environment.get("env", {}), "OPENAI_BASE_URL": f"{at}/v1"}
        else:
            environment["env"] = {**environment.get("env", {}), "ANTHROPIC_BASE_URL": at}
        return self.bench.routine("You count.\n", **{**keys, "environment": environment, **front})


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a data folder that has both builds."""
    if not os.path.exists("/usr/bin/npm"):
        pytest.skip("npm is not at /usr/bin/npm")
    home = tmp_path_factory.mktemp("built")

    async def install() -> None:
        async with await Tickover.open(home) as tickover:
            for build in ("claude-code", "codex"):
                await tickover.install(BUILDS[build])

    try:
        asyncio.run(install())
    except TickoverError as error:
        pytest.skip(f"the builds could not be installed: {error}")
    yield home
    shutil.rmtree(home, ignore_errors=True)  # nearly a gigabyte


@pytest.fixture
async def real(built: Path, tmp_path: Path) -> AsyncIterator[Real]:
    async with await Tickover.open(built) as tickover:
        yield Real(Bench(tickover, tmp_path), RunAuthority("doubles", now=datetime.now(UTC)))
        runs = [row.id for row in tickover.run_rows(limit=1000)]
        await until_idle(tickover)
    assert left_behind(built, runs) == []


def texts(model: ScriptedModel) -> str:
    """Return everything that the model was ever told."""
    return "\n".join(json.dumps(each.body) for each in model.requests)
