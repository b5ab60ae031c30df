"""The meter in the data plane: what calls to a model take is counted as it passes, and held to the run's budget."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import httpx
import pytest

from tickover.core.egress import Egress
from tickover.core.enforcement import Powers, model_rules
from tickover.core.metering import NOTHING, UNBOUND, Budget, Spent
from tickover.core.price import Price, Rates
from tickover.gateway.inspect import Inspector
from tickover.gateway.meter import Meter
from tickover.gateway.session import Called
from tickover.testing.inspected import DOUBLE, HOST, Site, egress_to, inspected
from tickover.testing.model import ScriptedModel
from tickover.testing.upstream import Seen, Talk, upstream

PRICE = Price("m", Rates(input=10, output=100, cache_read=1, cache_write=20))
PATHS = {
    "anthropic": "/v1/messages",
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "gemini": "/v1beta/models/m:generateContent",
}
USAGE = {"input": 100, "output": 20}
TURN = {"text": "Hello, world.", "usage": USAGE}


@dataclass
class Metered:
    """A site whose inspector meters, and what its meter told."""

    site: Site
    client: httpx.AsyncClient
    called: list[Called] = field(default_factory=list)


def asking(dialect: str, *, stream: bool = False, most: int | None = 1000, **more: Any) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a question."""
    path, words = PATHS[dialect], "Say hello."
    messages = [{"role": "user", "content": words}]
    limit: dict[str, Any] = {}
    if dialect == "gemini":
        if stream:
            path = path.replace(":generate", ":streamGenerate") + "?alt=sse"
        config = {} if most is None else {"generationConfig": {"maxOutputTokens": most}}
        return path, {"contents": [{"role": "user", "parts": [{"text": words}]}], **config, **more}
    names = {"anthropic": "max_tokens", "openai-chat": "max_completion_tokens", "openai-responses": "max_output_tokens"}
    if most is not None:
        limit = {names[dialect]: most}
    said = {"input": words} if dialect == "openai-responses" else {"messages": messages}
    if dialect == "openai-chat" and stream:
        more = {"stream_options": {"include_usage": True}, **more}
    return path, {"model": "m", "stream": stream, **said, **limit, **more}


@asynccontextmanager
async def metered(
    port: int,
    budget: Budget = UNBOUND,
    *,
    spent: Spent = NOTHING,
    own: tuple[Price, ...] = (PRICE,),
    change: Callable[[Egress], Egress] = lambda egress: egress,
) -> AsyncIterator[Metered]:
    calls = [f"POST https://{HOST}:{port}{path}{query}" for path in PATHS.values() for query in ("", "?alt=sse")]
    calls += [call.replace(":generate", ":streamGenerate") for call in calls if ":generate" in call]
    egress = change(egress_to(HOST, port, powers=Powers(model_rules(calls))))
    called: list[Called] = []
    meter = Meter(budget, own, (), spent, called.append)
    inspector: Any = partial(Inspector, meter=meter)
    async with inspected(egress, port, inspector=inspector) as site, site.client() as client:
        yield Metered(site, client, called)


@asynccontextmanager
async def model(*turns: dict[str, Any]) -> AsyncIterator[ScriptedModel]:
    with ScriptedModel({"turns": list(turns), "after_last": "repeat"}, tls=DOUBLE.context(HOST)) as scripted:
        yield scripted


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", PATHS)
async def test_what_a_call_takes_is_read_from_its_answer(dialect: str, stream: bool) -> None:
    async with model(TURN) as scripted, metered(scripted.port) as at:
        path, body = asking(dialect, stream=stream)
        answer = await at.client.post(path, json=body)
        assert answer.status_code == 200
        assert "Hello" in answer.text
        await at.site.ledger.ended()
    (called,) = at.called
    assert (called.dialect, called.model, called.status, called.host) == (dialect, "m", 200, HOST)
    assert (called.input_tokens, called.output_tokens, called.estimated) == (100, 20, False)
    assert called.cost_usd == pytest.approx((100 * 10 + 20 * 100) / 1e6)


async def test_each_end_of_a_call_is_told_once_and_what_never_left_is_not() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nothing listens there
        async with metered(held.getsockname()[1]) as at:
            path, body = asking("anthropic")
            assert (await at.client.post(path, json=body)).status_code == 502
    assert at.called == []


@pytest.mark.parametrize("dialect", PATHS)
async def test_a_limit_of_output_is_lowered_to_what_is_left(dialect: str) -> None:
    async with model(TURN) as scripted, metered(scripted.port, Budget(tokens=1000)) as at:
        path, body = asking(dialect, most=50_000)
        assert (await at.client.post(path, json=body)).status_code == 200
        (seen,) = scripted.turns
    sent = seen.body["generationConfig"]["maxOutputTokens"] if dialect == "gemini" else None
    for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        sent = seen.body.get(name, sent)
    assert sent is not None
    assert 900 < sent < 1000
    assert seen.headers["content-length"] == str(len(json.dumps(seen.body)))


async def test_a_budget_that_is_spent_refuses_before_anything_leaves() -> None:
    async with model(TURN) as scripted, metered(scripted.port, Budget(tokens=1000), spent=Spent(tokens=950)) as at:
        path, body = asking("anthropic")
        answer = await at.client.post(path, json=body)
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (402, "budget")
        assert "`limits.tokens` 1000" in answer.json()["error"]["detail"]
        assert scripted.requests == []
    assert (at.called, at.site.codes()) == ([], ["budget"])
    assert at.site.ledger.records == []


async def test_calls_add_up_until_the_budget_is_spent() -> None:
    async with model(TURN) as scripted, metered(scripted.port, Budget(cost_usd=0.1)) as at:
        path, body = asking("anthropic", most=300)
        answers = [(await at.client.post(path, json=body)).status_code for _ in range(40)]
        taken = answers.count(200)
        assert answers == [200] * taken + [402] * (40 - taken)
    assert len(at.called) == taken
    spent = sum(called.cost_usd or 0 for called in at.called)
    assert 0.06 < spent <= 0.1


async def test_calls_side_by_side_cannot_take_the_same_rest_twice() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(seen: Seen, talk: Talk) -> None:
        del seen
        entered.set()
        await leave.wait()
        said = {"type": "message", "model": "m", "content": [], "usage": {"input_tokens": 10, "output_tokens": 10}}
        await talk.answer(json.dumps(said).encode(), headers=(("content-type", "application/json"),))

    async with upstream(HOST, slow, authority=DOUBLE) as double, metered(double.port, Budget(tokens=1500)) as at:
        path, body = asking("anthropic", most=1200)
        first = asyncio.create_task(at.client.post(path, json=body))
        await asyncio.wait_for(entered.wait(), 60)
        assert (await at.client.post(path, json=body)).status_code == 402
        leave.set()
        assert (await first).status_code == 200
        assert (await at.client.post(path, json=body)).status_code == 200  # what was held came back


async def test_without_a_known_price_only_tokens_can_bound() -> None:
    path, body = asking("anthropic")
    async with model(TURN) as scripted, metered(scripted.port, Budget(cost_usd=5), own=()) as at:
        answer = await at.client.post(path, json=body)
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (402, "price_unknown")
    async with model(TURN) as scripted, metered(scripted.port, Budget(tokens=5000, cost_usd=5), own=()) as at:
        assert (await at.client.post(path, json=body)).status_code == 200
    assert [called.cost_usd for called in at.called] == [None]


async def test_a_stream_that_does_not_say_what_it_takes_is_cut_when_its_reserve_is_spent() -> None:
    long = {"text": "word " * 20_000, "usage": USAGE}
    async with model(long) as scripted, metered(scripted.port, Budget(tokens=2000)) as at:
        path, body = asking("openai-chat", stream=True, most=1000)
        del body["stream_options"]
        with pytest.raises(httpx.TransportError):
            await at.client.post(path, json=body)
        (receipt,) = await at.site.ledger.ended()
    assert receipt.ended
    assert receipt.ended.why.startswith("budget")
    (called,) = at.called
    assert called.estimated
    assert 1000 <= called.output_tokens < 3000


@pytest.mark.parametrize("status", [401, 403])
async def test_a_model_that_does_not_know_who_asks_is_not_asked_again(status: int) -> None:
    fault = {"status": status, "type": "authentication_error", "always": True}
    async with model({**TURN, "faults": [fault]}) as scripted, metered(scripted.port) as at:
        path, body = asking("anthropic")
        assert (await at.client.post(path, json=body)).status_code == status
        answer = await at.client.post(path, json=body)
        assert (answer.status_code, answer.headers["x-tickover-deny"]) == (403, "model_auth")
        assert len(scripted.requests) == 1
    assert [(called.status, called.input_tokens, called.cost_usd) for called in at.called] == [(status, 0, 0)]


async def test_an_answer_that_breaks_off_counts_as_an_estimate() -> None:
    fault = {"cut": 4}
    async with model({**TURN, "text": "word " * 200, "faults": [fault]}) as scripted, metered(scripted.port) as at:
        path, body = asking("anthropic", stream=True)
        with pytest.raises(httpx.TransportError):
            await at.client.post(path, json=body)
        await at.site.ledger.ended()
    (called,) = at.called
    assert (called.input_tokens, called.estimated) == (100, True)
    assert called.output_tokens > 0


async def test_what_cannot_be_read_has_no_budget() -> None:
    path, body = asking("anthropic")
    twice = json.dumps(body)[:-1] + ', "max_tokens": 9999}'
    async with model(TURN) as scripted, metered(scripted.port, Budget(tokens=5000)) as at:
        for content, headers in (
            (gzip.compress(json.dumps(body).encode()), {"content-encoding": "gzip"}),
            (twice.encode(), {}),
            (b"[]", {}),
            (json.dumps(body).encode(), {"content-type": "text/plain"}),
        ):
            answer = await at.client.post(
                path, content=content, headers={"content-type": "application/json", **headers}
            )
            assert (answer.status_code, answer.headers["x-tickover-deny"]) == (403, "model_unread"), content
        assert scripted.requests == []


async def test_the_tools_that_are_offered_are_told_when_they_change() -> None:
    async with model(TURN) as scripted, metered(scripted.port) as at:
        for names in (["Bash", "mcp__chat__post"], ["Bash", "mcp__chat__post"], ["Bash"]):
            path, body = asking("anthropic", tools=[{"name": name, "input_schema": {}} for name in names])
            assert (await at.client.post(path, json=body)).status_code == 200
    assert [called.tools for called in at.called] == [("Bash", "mcp__chat__post"), None, ("Bash",)]


async def test_what_only_looks_like_a_model_is_left_alone() -> None:
    async def echo(seen: Seen, talk: Talk) -> None:
        await talk.answer(seen.body)

    def change(egress: Egress) -> Egress:
        rules = tuple(replace(rule, name="may[0]") for rule in egress.powers.rules)
        return replace(egress, powers=replace(egress.powers, rules=rules))

    async with (
        upstream(HOST, echo, authority=DOUBLE) as double,
        metered(double.port, Budget(tokens=100), change=change) as at,
    ):
        sent = {"to": "+15550100", "text": "hi"}
        assert (await at.client.post("/v1/messages", json=sent)).json() == sent
    assert at.called == []
