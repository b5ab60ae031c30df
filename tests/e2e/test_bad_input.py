"""Bad input: a clear error with its place and no run, or a run that ends typed before its agent starts."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from tickover.app import RunRequest, Tickover
from tickover.core.errors import DefinitionErrors, TickoverError, UsageError

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

PROOF = {"file": {"path": "out/a.txt", "equals": "done\n"}}
WORK = "mkdir -p out; echo done > out/a.txt"

BROKEN = {
    "an open bracket": "name: broken\nagent: [steps",
    "a tab": "name: broken\n\tagent: steps",
    "two keys alike": "name: broken\nagent: steps\nagent: command",
    "an anchor": "name: &a broken\nagent: *a",
    "a tag": "name: !!python/object/apply:os.system [true]\nagent: steps",
    "a wrong type": "name: broken\nagent: steps\nexpect: {file: x}",
    "an unknown key": "name: broken\nagent: steps\nlimits: {timout: 3s}",
    "no unit": "name: broken\nagent: steps\nlimits: {timeout: 3}",
    "no agent": "name: broken",
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_definition_says_where(bench: Bench, what: str) -> None:
    folder = bench.routine("echo", name="broken")
    (folder / "ROUTINE.md").write_text(f"---\n{BROKEN[what]}\n---\n")
    with pytest.raises(TickoverError) as caught:
        await bench.run(folder)
    assert "ROUTINE.md:" in str(caught.value)
    assert bench.tickover.run_rows() == []


async def test_a_block_that_can_be_none_makes_no_run_without_its_reason(bench: Bench) -> None:
    row_or_error: object
    try:
        row_or_error = await bench.run(bench.routine("", name="empty"))
    except TickoverError as error:
        row_or_error = error
    assert "block" in str(row_or_error)


async def ended_early(bench: Bench, execution: str, phase: str, cause: str, **front: Any) -> str:
    """Run a routine that cannot start its agent; return the hint."""
    row = await bench.run(bench.routine(WORK, expect=[PROOF], **front))
    assert row.cause is not None
    assert (row.execution, row.cause.phase, row.cause.cause) == (execution, phase, cause), row.cause
    assert (row.outcome, row.exit_code, row.agent_started) == ("none", 7, False)
    return row.cause.hint


async def test_a_missing_skill(bench: Bench) -> None:
    row = await bench.run(bench.routine("", skill="digest"))
    assert row.cause is not None
    assert (row.execution, row.cause.phase, row.cause.cause) == ("failed", "preflight", "preflight")
    assert "digest" in row.cause.hint


UNREACHABLE = {
    "no folder": "file:///no/such/repository",
    "no repository": "file:///usr",
    "no server": "https://localhost:9/a.git",
    "no such host": "https://nowhere.invalid/a.git",
}


@pytest.mark.parametrize("what", UNREACHABLE)
async def test_an_unreachable_repository(bench: Bench, what: str) -> None:
    url = UNREACHABLE[what]
    hint = await ended_early(bench, "failed", "preflight", "clone_failed", repositories={"app": {"url": url}})
    assert url.removeprefix("file://") in hint


async def test_a_ref_that_is_not_there_names_the_nearest(bench: Bench) -> None:
    app = bench.repository({"a": "1"})
    app.git("branch", "release")
    hint = await ended_early(
        bench, "failed", "preflight", "clone_failed", repositories={"app": {"url": app.url, "ref": "relese"}}
    )
    assert "release" in hint


async def test_an_empty_repository(bench: Bench) -> None:
    app = bench.repository({})
    app.git("update-ref", "-d", "refs/heads/main")
    hint = await ended_early(bench, "failed", "preflight", "clone_failed", repositories={"app": {"url": app.url}})
    assert "no commit" in hint


# -- setup ---------------------------------------------------------------------------------------------------------------


async def test_setup_makes_a_layer_once(bench: Bench) -> None:
    app = bench.repository({"need.txt": "needed", "other.txt": "x"})
    setup = {"run": "cp need.txt ~/got.txt; ls > ~/seen.txt", "files": ["need.txt"]}
    folder = bench.routine(
        "cat ~/got.txt ~/seen.txt", repositories={"app": {"url": app.url}}, environment={"setup": setup}
    )
    for built in (True, False):
        row = await bench.run(folder)
        assert row.execution == "completed", row.cause
        assert bench.said() == "neededneed.txt\n"
        assert row.layer is not None
        assert row.layer.built is built
        assert row.layer.log_blob is not None


async def test_a_failing_setup_shows_the_line(bench: Bench) -> None:
    setup = {"run": "echo fine\necho about to fail\nfalse\necho never"}
    hint = await ended_early(bench, "failed", "layer", "setup_failed", environment={"setup": setup})
    assert "line 3" in hint
    assert "false" in hint
    [finding] = bench.facts("finding")
    assert b"about to fail" in bench.tickover.blob(finding["detail"]["log_blob"])


async def test_a_hanging_setup(bench: Bench) -> None:
    hint = await ended_early(
        bench, "timed_out", "layer", "setup_failed",
        environment={"setup": {"run": "setsid sleep 600 & echo waiting\nsleep 600"}}, limits={"timeout": "2s"},
    )  # fmt: skip
    assert "2 s" in hint
    assert "sleep 600" in hint


async def test_an_undeclared_setup_file_is_hinted_at(bench: Bench) -> None:
    app = bench.repository({"requirements.txt": "x"})
    hint = await ended_early(
        bench, "failed", "layer", "setup_failed",
        repositories={"app": {"url": app.url}}, environment={"setup": {"run": "cat requirements.txt"}},
    )  # fmt: skip
    assert "add files: [requirements.txt]" in hint


async def test_a_declared_setup_file_that_is_not_there(bench: Bench) -> None:
    app = bench.repository({"requirements.txt": "x"})
    setup = {"run": "true", "files": ["requirement.txt"]}
    hint = await ended_early(
        bench, "failed", "layer", "setup_failed",
        repositories={"app": {"url": app.url}}, environment={"setup": setup},
    )  # fmt: skip
    assert "requirements.txt" in hint


SETUPS = {
    "floods": "head -c 300M /dev/zero | tr '\\0' x",
    "leaves daemons": "setsid sleep 31337 & setsid sleep 31338 & true",
    "fills the disk": "head -c 2G /dev/zero > ~/big",
    "eats memory": "python3 -c 'x = []\nwhile True: x.append(bytearray(1 << 24))'",
    "makes devices and set-id files": "cp /bin/true ~/t; chmod 4755 ~/t",
}


@pytest.mark.parametrize("what", SETUPS)
async def test_a_setup_that(bench: Bench, what: str) -> None:
    limits = {"disk": "128MiB", "memory": "512MiB", "timeout": "1m"}
    row = await bench.run(
        bench.routine(WORK, expect=[PROOF], environment={"setup": {"run": SETUPS[what]}}, limits=limits)
    )
    if what in {"floods", "leaves daemons"}:
        assert (row.execution, row.outcome) == ("completed", "verified"), row.cause
        assert row.layer is not None
        assert row.layer.bytes < 16 << 20
    else:
        assert row.cause is not None
        assert (row.execution, row.cause.cause) == ("failed", "setup_failed"), row.cause
        assert row.exit_code == 7


# -- what a run meets on its way -------------------------------------------------------------------------------------------


async def test_a_cancelled_agent(bench: Bench) -> None:
    running = asyncio.create_task(bench.run(bench.routine("echo going; sleep 600", expect=[PROOF])))
    await bench.until("agent_output", running)
    bench.tickover.cancel(bench.events[0].run, "ada")
    row = await running
    assert (row.execution, row.outcome, row.exit_code) == ("cancelled", "failed", 7)
    assert row.cancel_requested_by == "ada"


async def test_a_cancelled_setup(bench: Bench) -> None:
    folder = bench.routine(WORK, environment={"setup": {"run": "sleep 600"}})
    running = asyncio.create_task(bench.run(folder))
    await bench.until("version_resolved", running)
    await bench.tickover.cancel_current()
    row = await running
    assert (row.execution, row.outcome, row.exit_code) == ("cancelled", "none", 7)


async def test_waiting_for_a_check_can_be_cancelled(bench: Bench) -> None:
    never = {"http": {"url": "http://127.0.0.1:9/", "within": "10m"}}
    running = asyncio.create_task(bench.run(bench.routine("echo", expect=[never])))
    await bench.until("check_evaluated", running)
    await bench.tickover.cancel_current()
    row = await running
    assert (row.execution, row.outcome, row.exit_code) == ("completed", "pending", 8)


async def test_a_git_folder_that_never_answers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tickover.control.subject_git._TIMEOUT", 2.0)
    app = bench.repository({"a": "1"})
    row = await bench.run(
        bench.routine(
            "rm .git/config; mkfifo .git/config",
            repositories={"app": {"url": app.url}},
            expect=[{"git": {"repo": "app", "in": "subject", "ref": "proof"}}],
        )
    )
    assert (row.execution, row.outcome) == ("completed", "unverified")
    assert "was not read within" in row.reason


async def test_an_observer_that_fails_does_not_leave_a_run_open(bench: Bench) -> None:
    def observe(event: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    folder = bench.routine(WORK, expect=[PROOF])
    row = await bench.tickover.run(RunRequest(folder=str(folder)), observe)
    assert (row.execution, row.exit_code) == ("failed", 7)


async def test_a_launcher_that_is_killed(bench: Bench) -> None:
    """The machine's fault is typed as such, whatever the run was at."""
    backend = bench.tickover.backend
    assert backend is not None
    running = asyncio.create_task(bench.run(bench.routine("echo going; sleep 600", expect=[PROOF])))
    await bench.until("agent_output", running)
    os.kill(backend.current.facts["pid"], 9)
    row = await running
    assert row.cause is not None
    assert (row.execution, row.cause.cause, row.outcome) == ("failed", "infrastructure", "unverified"), row.cause
    async with await Tickover.open(bench.tickover.home):
        pass  # the next start sweeps what the killed one left


async def test_more_input_than_a_program_can_be_given(bench: Bench) -> None:
    names = [f"n{number}" for number in range(60)]
    folder = bench.routine(WORK, inputs={name: {"type": "string"} for name in names}, expect=[PROOF])
    with pytest.raises(UsageError) as caught:
        await bench.run(folder, inputs=dict.fromkeys(names, "x" * 60_000))
    assert caught.value.code == "input.too_long"


async def test_a_setup_that_fails_without_end(bench: Bench) -> None:
    setup = {"run": "python3 -c \"print('\\U0001f600' * 300_000)\"; for i in $(seq 10000); do echo $i; done; exit 3"}
    hint = await ended_early(bench, "failed", "layer", "setup_failed", environment={"setup": setup})
    assert len(hint) < 30_000
    assert "exit 3" in hint


async def test_a_check_for_each_of_a_hundred_files_that_all_speak_in_emoji(bench: Bench) -> None:
    """The longest verdict there can be is still one fact of the journal."""
    line = "printf '\U0001f600%.0s' $(seq 400) >&2; exit 1"
    checks = [{"command": {"run": line}}] + [{"file": {"path": "\U0001f600" * 300 + str(n)}} for n in range(99)]
    row = await bench.run(bench.routine("true", artifacts=[], expect=checks))
    assert row.outcome == "failed"
    assert len(row.evidence) == 100
    with pytest.raises(DefinitionErrors, match="too long"):
        await bench.run(bench.routine("true", expect=[*checks, PROOF]))


async def test_an_agent_that_closes_its_streams_is_still_timed(bench: Bench) -> None:
    argv = ["/bin/bash", "-c", "exec 0<&- 1>&- 2>&-; sleep 600"]
    row = await bench.run(bench.routine("", agent="command", argv=argv, limits={"timeout": "2s"}, expect=[PROOF]))
    assert (row.execution, row.exit_code) == ("timed_out", 7)


async def test_a_program_that_does_not_exist(bench: Bench) -> None:
    row = await bench.run(bench.routine("", agent="command", argv=["no-such-agent"], expect=[PROOF]))
    assert row.execution in {"failed", "refused"}
    assert row.exit_code == 7
    assert row.cause is not None
    assert "no-such-agent" in row.cause.hint + bench.said()
