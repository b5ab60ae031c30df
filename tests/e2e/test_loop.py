"""Whole runs of `loop`: the adapter, its runner in the sandbox, the gateway; the model is the scripted model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tickover.gateway.certificates import RunAuthority
from tickover.testing.localhost import trust
from tickover.testing.model import ScriptedModel

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

CHECK = {"count.py": "import sys; sys.exit(open('/subject/count.txt').read() != '3\\n')"}
EXPECT = [{"command": {"run": "python3 count.py"}}]
WRITES = {"text": "Counting.", "tools": [{"name": "write", "input": {"path": "count.txt", "content": "3\n"}}]}
SAYS = {"text": "Verified: count.txt holds 3."}


@pytest.fixture
def authority() -> RunAuthority:
    return RunAuthority("scripted model", now=datetime.now(UTC))


async def play(bench: Bench, authority: RunAuthority, wire: str, *turns: dict[str, Any], **front: Any) -> Any:
    """Run the loop on a script; return the row and what the scripted model was asked."""
    with ScriptedModel({"turns": turns}, tls=authority.context("localhost")) as model:
        trust(bench.tickover.home, [model.port], authority.pem)
        url = f"https://localhost:{model.port}" + ("/v1" if wire == "openai" else "")
        at = {"name": "scripted", "url": url, "wire": wire}
        told = {"agent": "loop", "model": at, "checks": CHECK, "expect": EXPECT, **front}
        folder = bench.routine("You count.\n```text\n3\n```\n", **told)
        row = await bench.run(folder)
    return row, model.requests


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
async def test_work_is_verified_and_words_are_not(bench: Bench, authority: RunAuthority, wire: str) -> None:
    row, requests = await play(bench, authority, wire, WRITES, SAYS)
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.attempts[-1].cause, bench.said())
    assert len(requests) == 2
    assert (row.usage.input_tokens, row.usage.output_tokens) == (200, 40)
    assert bench.facts("agent_started")[0]["build"].startswith("loop@")
    assert "unproved_write" not in bench.findings(row)
    row, _ = await play(bench, authority, wire, SAYS)
    assert (row.execution, row.outcome) == ("completed", "failed")


async def test_what_it_calls_reaches_no_other_host(bench: Bench, authority: RunAuthority) -> None:
    tries = {"tools": [{"name": "bash", "input": {"command": "curl -sS https://evil.test/"}}]}
    row, _ = await play(bench, authority, "anthropic", tries, WRITES, SAYS)
    assert row.outcome == "verified"
    assert "evil.test" in {fact["host"] for fact in bench.facts("connection_denied")}
    assert "tool_failed" in bench.findings(row)


async def test_its_report_is_the_claim_that_a_noop_needs(bench: Bench, authority: RunAuthority) -> None:
    says = {"tools": [{"name": "report", "input": {"status": "noop", "summary": "nothing new"}}]}
    noop = [{"command": {"run": "python3 -c 0"}}]
    row, _ = await play(bench, authority, "openai", says, {"text": "Nothing to do."}, noop=noop)
    assert (row.outcome, row.exit_code) == ("noop", 0)


async def test_an_overloaded_model_is_tried_again(bench: Bench, authority: RunAuthority) -> None:
    busy = {"text": "x", "faults": [{"status": 529, "headers": {"retry-after": "0"}, "always": True}]}
    row, requests = await play(bench, authority, "anthropic", busy, retry={"attempts": 2, "backoff": "0s"})
    assert [attempt.cause.cause for attempt in row.attempts if attempt.cause] == ["model_overloaded"] * 2
    assert len(requests) == 6
