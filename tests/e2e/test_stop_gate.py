"""The stop gate, end to end: a frozen workspace judged from outside, an agent that is sent back, a verdict of its own.

The agent is the loop, asked by the scripted model; it is no model.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.test_loop import play

from tickover.gateway.certificates import RunAuthority
from tickover.testing.acp_agent import acp_agent
from tickover.testing.agent_package import agent_package

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

SAYS = "count.txt must hold the number of apples."
CHECK = {"count.py": "import sys; sys.exit(open('/subject/count.txt').read() != '3\\n')"}
GATED = [{"command": {"run": "python3 count.py", "stop_gate": {"says": SAYS}}}]
STOPS = {"text": "Done: everything is verified."}


def writes(content: str) -> dict[str, Any]:
    return {"text": "Counting.", "tools": [{"name": "write", "input": {"path": "count.txt", "content": content}}]}


def bash(command: str) -> dict[str, Any]:
    return {"text": "Running.", "tools": [{"name": "bash", "input": {"command": command}}]}


def reports(status: str) -> dict[str, Any]:
    return {"tools": [{"name": "report", "input": {"status": status, "summary": "see there"}}]}


@pytest.fixture
def authority() -> RunAuthority:
    return RunAuthority("scripted model", now=datetime.now(UTC))


def heard(requests: list[Any]) -> list[str]:
    """Return what the model was told by the gate, in order, from the last request: it has them all."""
    messages = requests[-1].body["messages"]
    return [each["content"] for each in messages if each["role"] == "user" and isinstance(each["content"], str)][1:]


@pytest.mark.parametrize("wire", ["anthropic", "openai"])
async def test_an_agent_that_stops_too_early_is_sent_back_and_mends_it(
    bench: Bench, authority: RunAuthority, wire: str
) -> None:
    row, requests = await play(bench, authority, wire, writes("2\n"), STOPS, writes("3\n"), STOPS, expect=GATED)
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.attempts[-1].cause, bench.said())
    [said] = heard(requests)
    assert SAYS in said
    assert "count.py" not in said, "it hears what is missing, never what is checked"
    first, last = row.gates
    assert [(each.number, [str(check.result) for check in each.checks], each.says) for each in (first, last)] == [
        (1, ["fail"], (SAYS,)),
        (2, ["pass"], ()),
    ]
    [repaired] = [each.finding for each in row.findings if each.finding.code == "repaired"]
    assert "expect[0]" in repaired.message
    assert row.network.denied == 0


async def test_it_is_sent_back_three_times_and_no_more(bench: Bench, authority: RunAuthority) -> None:
    row, requests = await play(bench, authority, "anthropic", writes("2\n"), STOPS, STOPS, STOPS, STOPS, expect=GATED)
    assert (row.execution, row.outcome) == ("completed", "failed")
    assert len(heard(requests)) == 3
    assert [len(each.says) for each in row.gates] == [1, 1, 1]
    assert "repaired" not in bench.findings(row)


async def test_who_answers_the_bell_or_silences_it_changes_no_verdict(bench: Bench, authority: RunAuthority) -> None:
    """The checks see what is there when the agent is gone, whatever it showed to the gate, or whoever answered there."""
    liar = bash(
        "printf '3\\n' > count.txt; curl -sS -X POST http://tickover.internal/stop; printf '2\\n' > count.txt;"
        " (sleep 600 & ) ; mkdir -p /tmp/x"
    )
    killer = bash("(while :; do pkill -KILL -f bell.py; done) >/dev/null 2>&1 & true")
    row, _ = await play(bench, authority, "anthropic", liar, killer, STOPS, expect=GATED)
    assert row.outcome == "failed", bench.said()
    assert [str(each.result) for each in row.gates[0].checks] == ["pass"]


async def test_nothing_moves_while_it_is_looked_at(bench: Bench, authority: RunAuthority) -> None:
    """A process that flips the file as fast as it can is caught in one state, by both looks of the same check."""
    slow = (
        "import sys, time; first = open('/subject/count.txt').read(); time.sleep(1);"
        " sys.exit(open('/subject/count.txt').read() != first)"
    )
    flips = bash("(while :; do date +%N > count.txt; done) >/dev/null 2>&1 & until [ -s count.txt ]; do :; done")
    steady = [{"command": {"run": "python3 steady.py", "stop_gate": {"says": "Hold still."}}}]
    (bench.folder / "routines" / "work" / "checks").mkdir(parents=True)
    (bench.folder / "routines" / "work" / "checks" / "steady.py").write_text(slow)
    row, _ = await play(bench, authority, "anthropic", flips, STOPS, expect=steady)
    [gate] = row.gates
    assert [str(each.result) for each in gate.checks] == ["pass"], gate


async def test_an_agent_that_claims_there_was_nothing_to_do_is_asked_for_that(
    bench: Bench, authority: RunAuthority
) -> None:
    """The gates of `noop` are asked instead; one that fails sends it to the work, and then those of `expect` are."""
    told = "There are apples to count."
    noop = [{"command": {"run": "test ! -e /subject/README", "stop_gate": {"says": told}}}]
    repository = bench.repository({"README": "three apples"})
    turns = [reports("noop"), STOPS, writes("2\n"), reports("done"), STOPS, writes("3\n"), STOPS]
    at = {"app": {"url": repository.url}}
    row, requests = await play(bench, authority, "anthropic", *turns, expect=GATED, noop=noop, repositories=at)
    assert row.outcome == "verified", (row.reason, row.gates)
    assert [(told in each, SAYS in each) for each in heard(requests)] == [(True, False), (False, True)]
    assert [[str(each.id) for each in gate.checks] for gate in row.gates] == [["noop[0]"], ["expect[0]"], ["expect[0]"]]


async def test_an_acp_agent_gets_another_prompt(bench: Bench) -> None:
    """It has no other host on its list than the gateway's own name."""
    command = "if [ -e count.txt ]; then echo 3 > count.txt; else echo 2 > count.txt; fi"
    argv = ["python3", "-c", acp_agent(command, "Done.")]
    folder = bench.routine("Count.\n```text\n3\n```\n", agent="acp", argv=argv, checks=CHECK, expect=GATED)
    row = await bench.run(folder)
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.attempts[-1].cause, bench.said())
    assert [gate.says for gate in row.gates] == [(SAYS,), ()]


needs_npm = pytest.mark.skipif(not os.path.exists("/usr/bin/npm"), reason="npm is not at /usr/bin/npm")
HOOKED = """\
if [ "$1" = --version ]; then echo 9.9.9; exit 0; fi
while [ $# -gt 0 ]; do [ "$1" = --settings ] && settings=$2; shift; done
cat > /dev/null
echo '{"type":"system","subtype":"init","tools":["Bash"],"model":"scripted"}'
hook=$(python3 -c "import json, sys; print(json.load(open(sys.argv[1]))['hooks']['Stop'][0]['hooks'][0]['command'])" $settings)
echo 2 > count.txt
until echo '{"stop_hook_active":false}' | $hook 2> heard.txt; do grep -q apples heard.txt && echo 3 > count.txt; done
echo '{"type":"result","subtype":"success","is_error":false,"num_turns":2}'
"""


@needs_npm
async def test_the_hook_is_handed_to_claude_code(bench: Bench) -> None:
    archive = agent_package(bench.folder, "@anthropic-ai/claude-code", "9.9.9", "claude", HOOKED)
    await bench.tickover.install("claude-code@9.9.9", [archive])
    limits = {"tokens": 100_000}
    folder = bench.routine("Count.\n```text\n3\n```\n", agent="claude-code", checks=CHECK, expect=GATED, limits=limits)
    row = await bench.run(folder)
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.attempts[-1].cause, bench.said())
    assert [gate.says for gate in row.gates] == [(SAYS,), ()]
