"""Real agents that speak ACP, as a user would set them up: npm in `setup`, their program in `argv`, a model at a URL.

Gemini CLI and opencode, from this machine's npm registry through the gateway; the model is the scripted model.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tickover.gateway.certificates import RunAuthority
from tickover.testing.localhost import trust
from tickover.testing.model import ScriptedModel

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
MISSING = [program for program in ("/usr/bin/node", "/usr/bin/npm") if not os.path.exists(program)]
CHECK = {"count.py": "import sys; sys.exit(open('/subject/count.txt').read() != '3\\n')"}
EXPECT = [{"command": {"run": "python3 count.py"}}]


@dataclass(frozen=True)
class Real:
    """A program: its package, how it starts in the sandbox's HOME, its shell tool, what it needs to find its model."""

    package: str
    start: str
    tool: str
    words: dict[str, Any]
    settings: str

    def env(self, url: str) -> dict[str, str]:
        """Return its variables: the model at `url`, with a key that is none."""
        if self.package.startswith("@google"):
            return {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "none", "GEMINI_CLI_TRUST_WORKSPACE": "true"}
        model = {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": f"{url}/v1", "apiKey": "none"}}
        config = {"provider": {"scripted": {**model, "models": {"m": {}}}}, "model": "scripted/m"}
        return {"OPENCODE_CONFIG_CONTENT": json.dumps({**config, "autoupdate": False, "share": "disabled"})}


REAL = {
    "gemini": Real(
        package="@google/gemini-cli@0.61.0",
        start="gemini --acp --yolo",
        tool="run_shell_command",
        words={"command": "echo 3 > count.txt"},
        settings='mkdir -p ~/.gemini && echo \'{"security": {"auth": {"selectedType": "gemini-api-key"}}}\''
        " > ~/.gemini/settings.json",
    ),
    "opencode": Real(
        package="opencode-ai@1.18.33",
        start="opencode acp",
        tool="bash",
        words={"command": "echo 3 > count.txt", "description": "count"},
        settings="true",
    ),
}


def unavailable(why: str) -> None:
    """Skip with the reason; root in CI has to have what is needed."""
    if os.getuid() == 0 and os.environ.get("CI"):
        pytest.fail(f"real agents have to run here: {why}")
    pytest.skip(f"real agents did not run: {why}")


@pytest.mark.parametrize("name", REAL)
async def test_a_real_agent_works_and_is_believed_on_proof_only(bench: Bench, name: str) -> None:
    if MISSING:
        unavailable(f"there is no {' and no '.join(MISSING)}")
    real = REAL[name]
    authority = RunAuthority("scripted model", now=datetime.now(UTC))
    works = {"text": "Counting.", "tools": [{"name": real.tool, "input": real.words}]}
    says = {"text": "Verified: count.txt holds 3."}
    for turns, outcome in (([works, says], "verified"), ([says], "failed")):
        with ScriptedModel({"turns": turns, "after_last": "repeat"}, tls=authority.context("localhost")) as model:
            trust(bench.tickover.home, [model.port], authority.pem)
            folder = bench.routine(
                "You count.\n```text\n3\n```\n",
                name=name,
                agent="acp",
                argv=["bash", "-c", f"exec ~/agent/node_modules/.bin/{real.start}"],
                environment={
                    "setup": {
                        "run": f"npm install --no-audit --no-fund --prefix ~/agent {real.package}\n{real.settings}"
                    },
                    "network": ["packages", f"localhost:{model.port}"],
                    "env": real.env(f"https://localhost:{model.port}"),
                },
                watch={"init": "3m", "first_answer": "3m"},
                limits={"memory": "4GiB", "timeout": "10m"},
                checks=CHECK,
                expect=EXPECT,
            )
            row = await bench.run(folder)
        told = [(event.type, event.data) for event in bench.events[-40:]]
        assert (row.execution, row.outcome) == ("completed", outcome), (row.reason, row.attempts, bench.said(), told)
        assert model.requests, "the model was never asked"
