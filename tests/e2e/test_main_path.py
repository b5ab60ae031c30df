"""What becomes of a run, from its verdict to its exit code: each row of the table once, for real."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.errors import DefinitionErrors, UsageError

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROOF = {"file": {"path": "out/a.txt", "equals": "done\n"}}
WORK = "mkdir -p out; echo done > out/a.txt"


@asynccontextmanager
async def page(answer: Callable[[], str]) -> AsyncIterator[str]:
    """Serve one page on loopback; `answer` is asked for its body each time."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = answer().encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/messages"


# -- the examples --------------------------------------------------------------------------------------------------------


def example(bench: Bench, name: str, change: tuple[str, str] | None = None) -> Path:
    folder = bench.folder / "routines" / name
    shutil.copytree(EXAMPLES / name, folder)
    if change is not None:
        routine = folder / "ROUTINE.md"
        text = routine.read_text()
        assert change[0] in text
        routine.write_text(text.replace(*change))
    return folder


async def test_the_digest_is_verified_and_one_changed_number_is_not(bench: Bench) -> None:
    app = bench.repository({"a.py": "def one():\n    return 1\n"})
    app.commit({"b.py": "def two():\n    return 2\n", "a.py": "def one():\n    return 3\n"}, "second")
    folder = example(bench, "repo-digest")
    row = await bench.run(folder, repositories={"app": app.url})
    assert (row.execution, row.outcome, row.exit_code) == ("completed", "verified", 0), row.reason
    assert {artifact.path for artifact in row.artifacts} == {"out/digest.json", "out/digest.md"}
    digest = json.loads(bench.tickover.artifact(row.id, "out/digest.json"))
    assert digest["totals"]["commits"] == 2
    cheat = "```python\nimport json\nd = json.load(open('out/digest.json')); d['totals']['added'] += 1\n"
    with (folder / "ROUTINE.md").open("a") as routine:
        routine.write(f"\n{cheat}json.dump(d, open('out/digest.json', 'w'))\n```\n")
    row = await bench.run(folder, repositories={"app": app.url})
    assert (row.execution, row.outcome, row.exit_code) == ("completed", "failed", 5), row.reason
    assert "totals" in row.reason


async def test_a_false_green_is_failed_and_what_held_before_proves_nothing(bench: Bench) -> None:
    messages = "[]"
    async with page(lambda: messages) as url:
        folder = example(bench, "false-green", ("http://127.0.0.1:8077/messages", url))
        row = await bench.run(folder)
        assert (row.execution, row.outcome, row.exit_code) == ("completed", "failed", 5)
        assert row.attempts[-1].agent_exit == 0
        assert "Posted to #eng" in bench.said()
        messages = '["Weekly digest of last week"]'
        row = await bench.run(folder)
        assert (row.execution, row.outcome, row.exit_code) == ("completed", "unverified", 6)
        assert "held already before" in row.reason


# -- outcome by outcome --------------------------------------------------------------------------------------------------


async def test_nothing_asked_is_nothing_proved(bench: Bench) -> None:
    row = await bench.run(bench.routine("echo hello"))
    assert (row.execution, row.outcome, row.exit_code) == ("completed", "unverified", 6)
    assert bench.said() == "hello\n"


async def test_time_runs_out(bench: Bench) -> None:
    row = await bench.run(bench.routine(f"sleep 600; {WORK}", expect=[PROOF], limits={"timeout": "1s"}))
    assert (row.execution, row.outcome, row.exit_code) == ("timed_out", "failed", 7)
    assert row.cause is not None
    assert (row.cause.phase, row.cause.cause) == ("agent", "timeout")
    assert "agent_ended_badly" in bench.findings(row)


async def test_work_that_is_done_is_done_however_the_process_ended(bench: Bench) -> None:
    row = await bench.run(bench.routine(f"{WORK}; sleep 600", expect=[PROOF], limits={"timeout": "1s"}))
    assert (row.execution, row.outcome, row.exit_code) == ("timed_out", "verified", 0)
    assert "agent_ended_badly" in bench.findings(row)


async def test_a_misspelt_key_names_its_line_and_the_nearest(bench: Bench) -> None:
    folder = bench.routine("echo", name="typo")
    (folder / "ROUTINE.md").write_text("---\nname: typo\nagnet: steps\n---\n")
    with pytest.raises(DefinitionErrors) as caught:
        await bench.run(folder)
    text = str(caught.value)
    assert "agnet" in text
    assert "`agent`" in text
    assert ":3:" in text or "line 3" in text
    assert bench.tickover.run_rows() == []


CLAIM = 'mkdir -p .tickover; echo \'{"status": "noop", "summary": "nothing new"}\' > .tickover/report.json'
SAME: list[dict[str, Any]] = [{"git": {"repo": "app", "range": "{{ state.last_commit }}..main", "commits": 0}}]


async def test_nothing_to_do_is_proved_by_git(bench: Bench) -> None:
    app = bench.repository({"a": "1"})
    front: dict[str, Any] = {
        "repositories": {"app": {"url": app.url}},
        "noop": SAME,
        "expect": [PROOF, {"git": {"repo": "app", "ref": "main", "exists": True, "guard": True}}],
    }
    first = await bench.run(bench.routine(WORK, **front))
    assert (first.outcome, first.exit_code) == ("verified", 0), first.reason
    row = await bench.run(bench.routine(CLAIM, **front))
    assert (row.execution, row.outcome, row.exit_code) == ("completed", "noop", 0), row.reason
    assert row.claim is not None
    assert row.claim.summary == "nothing new"
    app.commit({"a": "2"})
    row = await bench.run(bench.routine(CLAIM, **front))
    assert (row.execution, row.outcome, row.exit_code) == ("completed", "failed", 5), row.reason


async def test_nothing_to_do_is_not_proved_without_a_record(bench: Bench) -> None:
    app = bench.repository({"a": "1"})
    row = await bench.run(bench.routine(CLAIM, repositories={"app": {"url": app.url}}, noop=SAME))
    assert (row.outcome, row.exit_code) == ("unverified", 6)
    assert "nothing to do was claimed, but not proved" in row.reason


async def test_a_claim_of_nothing_to_do_needs_a_check(bench: Bench) -> None:
    row = await bench.run(bench.routine(CLAIM, expect=[PROOF]))
    assert (row.outcome, row.exit_code) == ("failed", 5)


async def test_a_run_waits_for_what_is_not_yet_true(bench: Bench) -> None:
    asked = 0

    def answer() -> str:
        nonlocal asked
        asked += 1
        return "ready" if asked > 3 else "building"

    async with page(answer) as url:
        folder = bench.routine("echo", expect=[{"http": {"url": url, "contains": "ready", "within": "1m"}}])
        row = await bench.run(folder, wait=False)
        assert (row.outcome, row.exit_code) == ("pending", 8)
        assert bench.results(row) == ["pending"]
        row = await bench.run(folder)
        assert (row.outcome, row.exit_code) == ("verified", 0)


async def test_what_never_becomes_true_fails_when_its_time_is_over(bench: Bench) -> None:
    async with page(lambda: "building") as url:
        row = await bench.run(
            bench.routine("echo", expect=[{"http": {"url": url, "contains": "ready", "within": "1s"}}])
        )
    assert (row.outcome, row.exit_code) == ("failed", 5)


async def test_a_guard_fails_a_run_and_never_verifies_it(bench: Bench) -> None:
    guard = {"command": {"run": "test ! -e /subject/forbidden", "guard": True}}
    row = await bench.run(bench.routine("echo", expect=[guard]))
    assert (row.outcome, row.exit_code) == ("unverified", 6)
    row = await bench.run(bench.routine(WORK, expect=[guard, PROOF]))
    assert (row.outcome, row.exit_code) == ("verified", 0)
    row = await bench.run(bench.routine(f"{WORK}; touch forbidden", expect=[guard, PROOF]))
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert "guard" in row.reason


@pytest.mark.parametrize(
    ("code", "execution", "cause"),
    [
        (0, "completed", None),
        (10, "skipped", None),
        (1, "failed", "condition_failed"),
        (127, "failed", "condition_failed"),
    ],
)
async def test_only_if(bench: Bench, code: int, execution: str, cause: str | None) -> None:
    line = f"echo nothing is worth it; exit {code}"
    row = await bench.run(bench.routine(WORK, only_if={"run": line}, expect=[PROOF]))
    assert row.execution == execution
    assert (None if row.cause is None else str(row.cause.cause)) == cause
    assert row.agent_started is (code == 0)
    assert (row.outcome, row.exit_code) == (("verified", 0) if code == 0 else ("none", 7))
    if code == 10:
        assert bench.facts("run_skipped")[0]["reason"] == "nothing is worth it"


async def test_only_if_that_hangs_is_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickover.control.condition._TIMEOUT", 1.0)
    row = await bench.run(bench.routine(WORK, only_if={"run": "sleep 600"}))
    assert (row.execution, row.exit_code) == ("failed", 7)
    assert row.cause is not None
    assert row.cause.cause == "condition_failed"


# -- attempts ------------------------------------------------------------------------------------------------------------


async def test_a_repository_that_comes_back_is_tried_again(bench: Bench) -> None:
    app = bench.repository({"a": "1"})
    hidden = app.path.with_name("hidden")
    app.path.rename(hidden)
    folder = bench.routine(
        WORK, repositories={"app": {"url": app.url}}, retry={"attempts": 3, "backoff": "1s"}, expect=[PROOF]
    )
    running = asyncio.create_task(bench.run(folder))
    await bench.until("retry_scheduled", running)
    hidden.rename(app.path)
    row = await running
    assert (row.execution, row.outcome, row.exit_code) == ("completed", "verified", 0)
    assert [attempt.execution for attempt in row.attempts] == ["failed", "completed"]
    assert row.attempts[0].cause is not None
    assert row.attempts[0].cause.cause == "clone_failed"


async def test_a_failing_agent_is_tried_again_only_where_the_routine_says_so(bench: Bench) -> None:
    once = await bench.run(bench.routine("exit 3", retry={"attempts": 3, "backoff": "0s"}, expect=[PROOF]))
    assert [attempt.execution for attempt in once.attempts] == ["failed"]
    again = {"attempts": 3, "backoff": "0s", "when": ["agent_failed"]}
    row = await bench.run(bench.routine("exit 3", retry=again, expect=[PROOF]))
    assert [attempt.execution for attempt in row.attempts] == ["failed"] * 3
    assert (row.outcome, row.exit_code) == ("failed", 7)


async def test_work_of_the_first_attempt_is_not_there_in_the_second(bench: Bench) -> None:
    again = {"attempts": 2, "backoff": "0s", "when": ["agent_failed"]}
    row = await bench.run(bench.routine("ls -A; touch left; exit 1", retry=again, expect=[PROOF]))
    assert len(row.attempts) == 2
    assert "left" not in bench.said()


async def test_a_second_attempt_that_cannot_start_ends_typed(bench: Bench) -> None:
    app = bench.repository({"a": "1"})
    folder = bench.routine(
        "exit 3",
        repositories={"app": {"url": app.url}},
        retry={"attempts": 2, "backoff": "1s", "when": ["agent_failed"]},
        expect=[PROOF],
    )
    running = asyncio.create_task(bench.run(folder))
    await bench.until("retry_scheduled", running)
    app.path.rename(app.path.with_name("hidden"))
    row = await running
    assert [attempt.execution for attempt in row.attempts] == ["failed", "failed"]
    assert row.cause is not None
    assert row.cause.cause == "clone_failed"
    assert (row.outcome, row.exit_code) == ("unverified", 7)


async def test_a_second_attempt_that_is_skipped_ends_typed(bench: Bench) -> None:
    app = bench.repository({"a": "1"})
    folder = bench.routine(
        "exit 3",
        repositories={"app": {"url": app.url}},
        retry={"attempts": 2, "backoff": "1s", "when": ["agent_failed"]},
        only_if={"run": "git --git-dir=/repo/app.git rev-parse -q --verify refs/heads/stop && exit 10; exit 0"},
        expect=[PROOF],
    )
    running = asyncio.create_task(bench.run(folder))
    await bench.until("retry_scheduled", running)
    app.git("branch", "stop")
    row = await running
    assert [attempt.execution for attempt in row.attempts] == ["failed", "skipped"]
    assert (row.execution, row.outcome, row.exit_code) == ("skipped", "unverified", 7)


async def test_waiting_for_another_attempt_can_be_cancelled(bench: Bench) -> None:
    again = {"attempts": 2, "backoff": "1h", "when": ["agent_failed"]}
    running = asyncio.create_task(bench.run(bench.routine("exit 3", retry=again, expect=[PROOF])))
    await bench.until("retry_scheduled", running)
    await bench.tickover.cancel_current()
    row = await running
    assert (row.execution, row.outcome, row.exit_code) == ("cancelled", "unverified", 7)


# -- state, inputs, event, artifacts -------------------------------------------------------------------------------------


async def test_state_is_kept_of_proved_runs_only(bench: Bench) -> None:
    def routine(last: str) -> Path:
        body = f"cat state/seen 2>/dev/null || echo nothing\n{WORK}\n{last}"
        return bench.routine(body, state=True, expect=[PROOF])

    row = await bench.run(routine("echo one >> state/seen"))
    assert bench.said() == "nothing\n"
    assert row.state_digest is not None
    row = await bench.run(routine("echo two >> state/seen; echo wrong > out/a.txt"))
    assert bench.said() == "one\n"
    assert (row.outcome, row.state_digest) == ("failed", None)
    assert row.state_discarded is not None
    row = await bench.run(routine("echo three >> state/seen"))
    assert bench.said() == "one\n"
    await bench.run(routine("true"))
    assert bench.said() == "one\nthree\n"


async def test_state_that_cannot_be_kept_is_a_finding(bench: Bench) -> None:
    row = await bench.run(bench.routine(f"{WORK}; ln -s /etc/passwd state/x", state=True, expect=[PROOF]))
    assert row.outcome == "verified"
    assert row.state_digest is None
    assert "state_discarded" in bench.findings(row)


INPUTS = {
    "week": {"type": "string", "default": "last"},
    "count": {"type": "integer"},
    "deep": {"type": "boolean", "default": False},
    "part": {"type": "number", "default": 0.5},
}


async def test_inputs_are_typed_and_reach_the_agent_and_the_checks(bench: Bench) -> None:
    folder = bench.routine(
        'mkdir -p out; env | grep ^TICKOVER_INPUT_ | sort; printf %s "$TICKOVER_INPUT_COUNT" > out/count',
        inputs=INPUTS,
        expect=[{"file": {"path": "out/count", "equals": "{{ inputs.count }}"}}],
    )
    row = await bench.run(folder, inputs={"count": "12", "deep": "true"})
    assert row.inputs == {"week": "last", "count": 12, "deep": True, "part": 0.5}
    assert row.outcome == "verified", (row.reason, bench.said())


@pytest.mark.parametrize(
    ("given", "code"),
    [({}, "input.missing"), ({"count": "many"}, "input.type"), ({"count": "1", "weak": "2"}, "input.unknown"),
     ({"count": "1", "deep": "yes"}, "input.type"), ({"count": "1", "part": "nan"}, "input.type"),
     ({"count": "1_0"}, "input.type"), ({"count": "9" * 5000}, "input.type")],
)  # fmt: skip
async def test_wrong_inputs_make_no_run(bench: Bench, given: dict[str, str], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        await bench.run(bench.routine(WORK, inputs=INPUTS), inputs=given)
    assert caught.value.code == code
    assert bench.tickover.run_rows() == []


async def test_the_event_is_a_file_and_its_ids_reach_the_checks(bench: Bench) -> None:
    folder = bench.routine(
        "mkdir -p out; cp /tickover/event out/event.json",
        expect=[{"command": {"run": "cmp /subject/out/event.json event.json"}}],
        checks={"event.json": '{"id": 7}'},
    )
    row = await bench.run(folder, event=b'{"id": 7}')
    assert row.outcome == "verified", (row.reason, bench.said())
    assert row.event_digest is not None


async def test_the_event_says_what_is_worked_on_and_nothing_of_what_is_believed(bench: Bench) -> None:
    app = bench.repository({"a": "main\n"})
    app.git("checkout", "-q", "-b", "fix/a")
    sha = app.commit({"a": "topic\n"})
    app.git("checkout", "-q", "main")
    folder = bench.routine(
        "mkdir -p out; cp a out/a",
        repositories={"app": {"url": app.url, "ref": "{{ event.head }}"}},
        expect=[{"command": {"run": "grep -qx topic /subject/out/a"}}],
    )
    row = await bench.run(folder, event=b'{"head": "fix/a"}')
    assert (row.outcome, row.subject["app"]) == ("verified", sha), row.reason
    assert row.trusted["app"] != sha
    before = len(bench.tickover.run_rows())
    for hostile in (b'{"head": "--upload-pack=id"}', b'{"head": "a:refs/heads/main"}', b"{}", b"no json"):
        with pytest.raises(UsageError) as caught:
            await bench.run(folder, event=hostile)
        assert caught.value.code == "input.ref"
    assert len(bench.tickover.run_rows()) == before


async def test_artifacts_are_stored_and_last_weeks_are_gone(bench: Bench) -> None:
    app = bench.repository({"out/old.txt": "old", "a": "1"})
    folder = bench.routine(
        "ls out 2>/dev/null || true; mkdir -p out/deep; printf new > out/deep/new.txt; printf '#!/bin/sh' > out/x; chmod +x out/x",
        repositories={"app": {"url": app.url}},
    )
    row = await bench.run(folder)
    assert bench.said() == ""
    assert {(artifact.path, artifact.bytes) for artifact in row.artifacts} == {("out/deep/new.txt", 3), ("out/x", 9)}
    assert bench.tickover.artifact(row.id, "out/deep/new.txt") == b"new"
