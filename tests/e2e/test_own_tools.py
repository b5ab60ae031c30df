"""The tools of the run itself: what an agent hands over by them is a file like any other, and a claim like any other.

The agent is the loop, asked by the scripted model; it is no model.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.test_loop import play

from tickover.gateway.certificates import RunAuthority
from tickover.testing.acp_agent import acp_agent

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

REPORT = {"report.py": "import sys; sys.exit(open('/subject/out/report.md').read() != 'Three apples.\\n')"}
HANDED_IN = [{"command": {"run": "python3 report.py"}}]
STOPS = {"text": "Done."}


@pytest.fixture
def authority() -> RunAuthority:
    return RunAuthority("scripted model", now=datetime.now(UTC))


def calls(*several: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"tools": [{"name": name, "input": arguments} for name, arguments in several]}


def told(requests: list[Any]) -> list[str]:
    """Return what the tools said, in order: the last request has it all."""
    blocks = [block for each in requests[-1].body["messages"] if isinstance(each["content"], list)
              for block in each["content"]]  # fmt: skip
    texts = [block["content"] for block in blocks if block["type"] == "tool_result"]
    return [each if isinstance(each, str) else each[0]["text"] for each in texts]


async def test_what_is_handed_in_is_checked_and_kept_as_a_file_is(bench: Bench, authority: RunAuthority) -> None:
    """By its text, its bytes, or a file of the workspace as it stands; over a link that leads elsewhere, too."""
    links = "ln -s /check out; mkdir -p made && printf 'by hand' > made/here.txt"
    turns = [
        calls(("bash", {"command": links})),
        calls(
            ("artifact", {"path": "out/report.md", "content": "Three apples.\n"}),
            ("artifact", {"path": "out/raw/bytes", "content_base64": base64.b64encode(b"\0\xff").decode()}),
            ("artifact", {"path": "out/copy.txt", "file": "made/here.txt"}),
            ("artifact", {"path": "elsewhere.md", "content": "x"}),
            ("artifact", {"path": "out/nothing", "file": "made/nothing.txt"}),
            ("artifact", {"path": "out/../secret", "content": "x"}),
        ),
        STOPS,
    ]
    row, requests = await play(bench, authority, "anthropic", *turns, checks=REPORT, expect=HANDED_IN)
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.reason, bench.said())
    kept = {each["path"]: each["bytes"] for each in bench.facts("artifact_stored")}
    assert kept == {"out/report.md": 14, "out/raw/bytes": 2, "out/copy.txt": 7}
    _, *said, elsewhere, nothing, leads_out = told(requests)
    assert all("handed in" in each for each in said)
    assert "out/**" in elsewhere
    assert "there is no such file" in nothing
    assert "below the workspace" in leads_out


async def test_its_report_is_a_claim_and_no_more(bench: Bench, authority: RunAuthority) -> None:
    """`done` proves nothing; `noop` is what checks of `noop` are asked about; a later word is the one that counts."""
    done = calls(("report", {"status": "done", "summary": "all is verified"}))
    row, _ = await play(bench, authority, "anthropic", done, STOPS, checks=REPORT, expect=HANDED_IN)
    assert row.outcome == "failed"
    assert row.claim
    assert (row.claim.status, row.claim.summary) == ("done", "all is verified")
    noop = calls(("report", {"status": "noop", "summary": "nothing new"}))
    row, _ = await play(bench, authority, "anthropic", done, noop, STOPS, checks=REPORT, expect=HANDED_IN,
                        noop=[{"command": {"run": "python3 -c 0"}}])  # fmt: skip
    assert row.outcome == "noop"
    row, _ = await play(
        bench, authority, "anthropic", noop, STOPS, expect=[{"file": {"path": ".tickover/report.json"}}]
    )
    assert row.outcome == "unverified", "that there is a report is the agent's own word, too"


async def test_state_is_read_and_written_and_kept_only_if_proved(bench: Bench, authority: RunAuthority) -> None:
    """The tool and the folder are one: what a shell wrote is read, and what the tool wrote the next run finds."""
    proof = calls(("artifact", {"path": "out/report.md", "content": "Three apples.\n"}))
    first = calls(
        ("state", {}),
        ("state", {"path": "seen/last.txt", "content": "41\n"}),
        ("bash", {"command": "printf by-shell > state/shell.txt"}),
        ("state", {"path": "shell.txt"}),
        ("state", {"path": "seen/last.txt"}),
        ("state", {}),
    )
    keeps: dict[str, Any] = {"checks": REPORT, "expect": HANDED_IN, "state": True}
    row, requests = await play(bench, authority, "anthropic", first, proof, STOPS, **keeps)
    assert row.outcome == "verified", (row.reason, bench.said())
    nothing, _, _, by_shell, seen, names, _ = told(requests)
    assert (nothing, by_shell, seen, names) == ("there is nothing yet", "by-shell", "41\n", "seen/last.txt\nshell.txt")
    assert bench.facts("state_committed")
    second = calls(("state", {"path": "seen/last.txt", "content": "42\n"}), ("bash", {"command": "cat state/seen/*"}))
    row, requests = await play(bench, authority, "anthropic", second, STOPS, **keeps)
    assert (row.outcome, told(requests)[-1]) == ("failed", "41\n")
    third = calls(("state", {"path": "seen/last.txt"}))
    row, requests = await play(bench, authority, "anthropic", third, STOPS, **keeps)
    assert told(requests) == ["41\n"], "the run before proved nothing"


async def test_the_stop_gate_sees_what_was_handed_in(bench: Bench, authority: RunAuthority) -> None:
    gated = [{"command": {"run": "python3 report.py", "stop_gate": {"says": "The report is missing."}}}]
    hands_in = calls(("artifact", {"path": "out/report.md", "content": "Three apples.\n"}))
    row, _ = await play(bench, authority, "anthropic", STOPS, hands_in, STOPS, checks=REPORT, expect=gated)
    assert row.outcome == "verified"
    assert [[str(each.result) for each in gate.checks] for gate in row.gates] == [["fail"], ["pass"]]


async def test_any_program_of_an_agent_that_has_them_can_call_them(bench: Bench) -> None:
    """An agent of the Agent Client Protocol is told of them, and needs no other host."""
    call = (
        '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "artifact", "arguments":'
        ' {"path": "out/report.md", "content": "Three apples.\\n"}}}'
    )
    command = f"curl -sS $MCP_URL -H 'content-type: application/json' -d '{call}'"
    argv = ["python3", "-c", acp_agent(command, "Done.", mcp=True)]
    folder = bench.routine("Report.\n```text\n3\n```\n", agent="acp", argv=argv, checks=REPORT, expect=HANDED_IN)
    row = await bench.run(folder)
    assert (row.execution, row.outcome) == ("completed", "verified"), (row.attempts[-1].cause, bench.said())
    assert row.network.calls == 0, "it is no effect: there is no receipt that a check could ask for"
