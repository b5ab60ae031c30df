"""What a run's agent asks of a model, from its sandbox through the real gateway: counted, priced, stopped in time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tickover.cli.show import usage_text
from tickover.gateway.certificates import RunAuthority
from tickover.testing.model import ScriptedModel

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

ASK = {"model": "claude-opus-5", "max_tokens": 400, "messages": [{"role": "user", "content": "Say hello."}]}
TURN = {"text": "Hello.", "usage": {"input": 1000, "output": 200, "cache_read": 4000}}
SCRIPT = """\
for i in $(seq COUNT); do
  curl -q -sS -o said.json -w '%{http_code} ' -H 'content-type: application/json' -d '@ask.json' URL/v1/messages
done
grep -q 'by": "tickover' said.json && exit 3
true
"""


@contextmanager
def scripted(bench: Bench, *faults: dict[str, Any], prices: dict[str, Any] | None = None) -> Iterator[ScriptedModel]:
    """Serve a scripted model that runs may reach as https://localhost:PORT."""
    authority = RunAuthority("double", now=datetime.now(UTC))
    script = {"turns": [{**TURN, "faults": list(faults)}], "after_last": "repeat"}
    with ScriptedModel(script, tls=authority.context("localhost")) as model:
        home = bench.tickover.home
        (home / "roots.pem").write_bytes(authority.pem)
        network = {"private": [f"localhost:{model.port}"], "roots": [str(home / "roots.pem")]}
        (home / "tickover.yaml").write_text(json.dumps({"network": network, "prices": prices or {}}))
        yield model


def routine(bench: Bench, model: ScriptedModel, count: int, ask: dict[str, Any] = ASK, **front: Any) -> Path:
    url = f"https://localhost:{model.port}"
    script = f"cat > ask.json <<'EOF'\n{json.dumps(ask)}\nEOF\n" + SCRIPT.replace("COUNT", str(count))
    may = [{"request": {"to": f"POST {url}/v1/messages"}}]
    folder = bench.routine(script.replace("URL", url), may=may, **front)
    bench.tickover.grant(folder, by="owner")
    return folder


async def test_calls_are_counted_and_priced_by_what_passed(bench: Bench) -> None:
    with scripted(bench) as model:
        row = await bench.run(routine(bench, model, 2, limits={"tokens": 100_000}))
    assert row.execution == "completed", bench.said()
    assert bench.said().split() == ["200", "200"]
    usage = row.usage
    assert (usage.calls, usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (2, 2000, 8000, 400)
    assert usage.cost_usd is not None
    assert round(usage.cost_usd, 6) == round(2 * (1000 * 5 + 4000 * 0.5 + 200 * 25) / 1e6, 6)
    assert usage_text(usage) == "2 calls: 10000 tokens in (8000 from a cache), 400 out, 0.0240 USD"
    assert [fact["tools"] for fact in bench.facts("model_called")] == [[], None]
    assert row.sandbox is not None
    assert row.sandbox.limits["tokens"] == 100_000


async def test_a_budget_stops_a_run_and_says_so(bench: Bench) -> None:
    with scripted(bench) as model:
        row = await bench.run(routine(bench, model, 5, limits={"cost_usd": 0.03}))
        assert len(model.turns) == 2
    assert bench.said().split() == ["200", "200", "402", "402", "402"]
    assert row.execution == "failed"
    assert row.cause is not None
    assert row.cause.cause == "budget"
    assert "`limits.cost_usd` 0.03" in row.cause.hint
    assert "budget_stop" in bench.findings(row)
    assert "host_denied" not in bench.findings(row)


async def test_failed_attempts_count(bench: Bench) -> None:
    with scripted(bench) as model:
        fails = routine(bench, model, 1, limits={"tokens": 9000}, retry=AGAIN)
        text = (fails / "ROUTINE.md").read_text()
        (fails / "ROUTINE.md").write_text(text.replace("\ntrue\n", "\nexit 1\n"))
        row = await bench.run(fails)
        assert len(model.turns) == 2
    assert len(row.attempts) == 3
    assert (row.usage.calls, row.usage.input_tokens) == (2, 2000)
    assert row.cause is not None
    assert row.cause.cause == "budget"


AGAIN = {"attempts": 3, "backoff": "0s", "when": ["agent_failed"]}


async def test_a_key_that_is_not_accepted_ends_the_asking(bench: Bench) -> None:
    fault = {"status": 401, "type": "authentication_error", "always": True}
    with scripted(bench, fault) as model:
        row = await bench.run(routine(bench, model, 3, limits={"tokens": 9000}, retry=AGAIN))
        assert len(model.requests) == 1
    assert bench.said().split() == ["401", "403", "403"]
    assert len(row.attempts) == 1
    assert row.cause is not None
    assert row.cause.cause == "model_auth"
    assert (row.usage.calls, row.usage.cost_usd) == (1, 0)


async def test_a_model_without_a_price_needs_tokens_or_the_instances_price(bench: Bench) -> None:
    ask = {**ASK, "model": "local-7b"}
    with scripted(bench) as model:
        row = await bench.run(routine(bench, model, 1, ask, limits={"cost_usd": 1}))
        assert model.requests == []
    assert row.cause is not None
    assert "nobody knows what the model `local-7b` costs" in row.cause.hint
    with scripted(bench, prices={"local-*": {"input": 1, "output": 2}}) as model:
        row = await bench.run(routine(bench, model, 1, ask, limits={"cost_usd": 1}))
    assert row.usage.cost_usd is not None
    assert round(row.usage.cost_usd, 6) == round((5000 * 1 + 200 * 2) / 1e6, 6)
