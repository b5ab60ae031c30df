"""A service of one's own as a connector: its calls are tools, its pages are read back with a token of the verifier's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.errors import DefinitionErrors
from tickover.testing.localhost import entry, serving, url
from tickover.testing.upstream import Seen, Talk, Upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

AGENT, READER = "the-token-of-the-agent-0820", "the-token-of-the-reader-0821"
SEND = """\
import sys, urllib.request
for line in sys.stdin:
    url, body = line.split(" ", 1)
    asked = urllib.request.Request(url, body.encode(), {"content-type": "application/json"}, method="POST")
    try:
        print(urllib.request.urlopen(asked, timeout=30).status)
    except Exception as error:
        print("no:", error)
"""


@dataclass
class Tickets:
    """Tickets in queues, for who has a token; only the agent's may write."""

    closed: dict[str, str] = field(default_factory=dict)
    called: list[tuple[str, str, str]] = field(default_factory=list)

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        who = {f"Bearer {AGENT}": "agent", f"Bearer {READER}": "reader"}.get(
            seen.header("authorization") or "", "nobody"
        )
        self.called.append((who, seen.method, seen.target))
        number = seen.target.split("/")[3]
        if seen.method == "POST" and who == "agent":
            self.closed[number] = json.loads(seen.body)["reason"]
        elif seen.method == "POST" or who == "nobody":
            await talk.answer(b"{}", status="403 Forbidden")
            return
        told = {"id": number, "closed": number in self.closed}
        await talk.answer(json.dumps(told).encode(), headers=(("content-type", "application/json"),))


@pytest.fixture
async def desk(bench: Bench) -> AsyncIterator[tuple[Upstream, Tickets]]:
    tickets = Tickets()
    async with serving(tickets) as double:
        roots = bench.folder / "roots.pem"
        assert double.authority is not None
        roots.write_bytes(double.authority.pem)
        tools = {"close_ticket": {"call": "POST /tickets/{ticket}/close", "fields": {"reasons": "reason"}}}
        http = {
            "url": f"{url(double)}/v1", "credential": "desk-bot", "verifier_credential": "desk-reader", "tools": tools
        }  # fmt: skip
        network = {"private": [entry(double)], "roots": [str(roots)]}
        told = {"network": network, "connectors": {"desk": {"http": http}}}
        (bench.tickover.home / "tickover.yaml").write_text(json.dumps(told))
        for name, value in (("desk-bot", AGENT), ("desk-reader", READER)):
            bench.tickover.secrets.set(name, value.encode(), by="owner", binding={"hosts": [entry(double)]})
        yield double, tickets


def front(double: Upstream, **keys: Any) -> dict[str, Any]:
    return {
        "inputs": {"ticket": {"type": "integer", "default": 7}},
        "connectors": {"desk": {"tools": ["close_ticket"]}},
        "may": [{"desk": {"tool": "close_ticket", "ticket": [7, 8], "reasons": ["fixed"], "max": 1}}],
        "expect": [{"http": {"url": f"{url(double)}/v1/tickets/{{{{ inputs.ticket }}}}", "json": {"closed": True}}}],
        **keys,
    }


def closing(double: Upstream, *calls: tuple[str, str]) -> str:
    lines = "".join(f"{url(double)}/v1/{path} {json.dumps({'reason': reason})}\n" for path, reason in calls)
    return f"cat > send.py <<'EOF'\n{SEND}EOF\npython3 send.py <<'EOF'\n{lines}EOF\n"


async def test_a_closed_ticket_is_verified_by_reading_it_back(bench: Bench, desk: tuple[Upstream, Tickets]) -> None:
    double, tickets = desk
    calls = ("tickets/9/close", "fixed"), ("tickets/7/close", "bored"), ("tickets/7/reopen", "fixed")
    folder = bench.routine(
        closing(double, *calls, ("tickets/7/close", "fixed"), ("tickets/8/close", "fixed")), **front(double)
    )
    bench.tickover.grant(folder, by="owner")
    row = await bench.run(folder)
    assert (row.outcome, row.exit_code) == ("verified", 0), (row.reason, bench.said())
    assert tickets.closed == {"7": "fixed"}
    assert tickets.called == [
        ("reader", "GET", "/v1/tickets/7"),
        ("agent", "POST", "/v1/tickets/7/close"),
        ("reader", "GET", "/v1/tickets/7"),
    ]
    assert sorted(each["code"] for each in bench.facts("connection_denied")) == ["body", "max", "no_rule", "no_rule"]
    assert not [token for token in (AGENT, READER) if token in str(bench.events)]


async def test_who_only_says_so_is_red_and_the_reader_needs_a_yes(bench: Bench, desk: tuple[Upstream, Tickets]) -> None:
    double, tickets = desk
    folder = bench.routine("echo closed", **front(double))
    row = await bench.run(folder)
    assert (row.execution, row.outcome) == ("refused", "none")
    assert tickets.called == []
    bench.tickover.grant(folder, by="owner")
    row = await bench.run(folder)
    assert (row.outcome, row.exit_code) == ("failed", 5)


async def test_a_required_tool_is_not_built_yet_and_says_so(bench: Bench, desk: tuple[Upstream, Tickets]) -> None:
    offered = {"desk": {"tools": ["close_ticket"], "required": ["close_ticket"]}}
    with pytest.raises(DefinitionErrors) as caught:
        await bench.run(bench.routine("true", **front(desk[0], connectors=offered)))
    assert [each.code for each in caught.value.problems] == ["not_yet: connectors.desk.required"]


@pytest.mark.parametrize(
    ("may", "code"),
    [
        ({"tool": "close_tickt", "ticket": 7}, "connector.unknown_key"),
        ({"tool": "close_ticket"}, "connector.needs"),
        ({"tool": "close_ticket", "ticket": ".."}, "connector.place"),
        ({"tool": "close_ticket", "ticket": "7/close/../8"}, "connector.place"),
        ({"tool": "close_ticket", "ticket": 7, "reason": ["fixed"]}, "connector.unknown_key"),
    ],
)
async def test_what_is_no_entry_is_said_before_the_run(
    bench: Bench, desk: tuple[Upstream, Tickets], may: dict[str, Any], code: str
) -> None:
    with pytest.raises(DefinitionErrors) as caught:
        await bench.run(bench.routine("true", **front(desk[0], may=[{"desk": may}])))
    assert [each.code for each in caught.value.problems] == [code]
