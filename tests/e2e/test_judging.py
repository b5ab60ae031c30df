"""What an agent leaves for the checks: whatever it is, what is false stays false, and what cannot be asked is an error.

Modules, settings and programs planted for a pinned check are in tests/checks/test_planted.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

PROOF = {"file": {"path": "out/a.txt", "equals": "done\n"}}
WORK = "mkdir -p out; echo done > out/a.txt"

SUITE = """\
import glob, importlib.util, os, sys
# A test runner as people have it: it runs conftest.py and every test file that it finds.
ran = []
for path in ["conftest.py", *sorted(glob.glob("tests/**/*.py", recursive=True))]:
    if os.path.exists(path):
        ran.append(path)
        exec(compile(open(path).read(), path, "exec"), {"sys": sys, "os": os})
print("ran", ran)
"""
TEST = "sys.path[:0] = ['.', 'tests']\nimport shelve, app\nassert app.total([1, 2]) == 3, 'wrong total'\n"
BROKEN = {"app.py": "def total(numbers):\n    return 0\n", "tests/test_app.py": TEST, "conftest.py": "# nothing\n"}
RIGHT = "printf 'def total(numbers):\\n    return sum(numbers)\\n' > app.py"
RUN_SUBJECT: dict[str, Any] = {
    "command": {
        "run": "cd /subject && python3 /check/suite.py",
        "subject": {"run": True, "restore": ["tests/**", "conftest.py"]},
    }
}


async def test_the_subjects_own_tests_prove_its_work(bench: Bench) -> None:
    app = bench.repository(BROKEN)
    folder = bench.routine(
        RIGHT, repositories={"app": {"url": app.url}}, expect=[RUN_SUBJECT], checks={"suite.py": SUITE}
    )
    row = await bench.run(folder)
    assert (row.outcome, row.exit_code) == ("verified", 0), row.reason


CHEATS = {
    "a test rewritten": "echo 'print(1)' > tests/test_app.py",
    "a test removed": "rm tests/test_app.py",
    "all tests removed": "rm -rf tests",
    "a conftest that ends the run": "echo 'os._exit(0)' > conftest.py",
    "a conftest beside the tests": "echo 'os._exit(0)' > tests/conftest.py",
    "a test that ends the run": "mkdir tests/a; echo 'os._exit(0)' > tests/a/test_first.py",
    "tests that are a link": "mv tests mine; echo 'os._exit(0)' > mine/test_app.py; ln -s mine tests",
    "tests that are a link out": "rm -rf tests; ln -s /tmp tests",
    "tests that are a file": "rm -rf tests; echo x > tests",
    "a conftest that is a link": "echo 'os._exit(0)' > x.py; ln -sf x.py conftest.py",
    "a conftest that is a folder": "rm conftest.py; mkdir conftest.py",
    "a test that is a link": "echo 'os._exit(0)' > x.py; ln -sf ../x.py tests/test_app.py",
    "tests that nobody may open": "chmod 000 tests",
    "a module in a folder that nobody may list": "mkdir tests/shelve; echo 'import os; os._exit(0)' > tests/shelve/__init__.py; chmod 111 tests/shelve",
    "tests in other letters": "mkdir Tests; echo 'os._exit(0)' > Tests/test_app.py",
}


@pytest.mark.parametrize("cheat", CHEATS)
async def test_trusted_tests_are_laid_over_the_agents(bench: Bench, cheat: str) -> None:
    app = bench.repository(BROKEN)
    folder = bench.routine(
        CHEATS[cheat], repositories={"app": {"url": app.url}}, expect=[RUN_SUBJECT], checks={"suite.py": SUITE}
    )
    row = await bench.run(folder)
    assert row.execution == "completed", bench.said()
    assert (row.outcome, row.exit_code) == ("failed", 5), row.reason
    assert "wrong total" in row.evidence[0].summary


async def test_the_naive_way_would_be_fooled(bench: Bench) -> None:
    """The cheat above is one: without `restore` the same agent is believed."""
    app = bench.repository(BROKEN)
    naive = {"command": {"run": "cd /subject && python3 /check/suite.py", "subject": {"run": True}}}
    folder = bench.routine(
        CHEATS["a conftest that ends the run"],
        repositories={"app": {"url": app.url}}, expect=[naive], checks={"suite.py": SUITE},
    )  # fmt: skip
    assert (await bench.run(folder)).outcome == "verified"


# -- programs and git settings -------------------------------------------------------------------------------------------

SHADOWS = """\
for folder in . "$HOME" "$HOME/bin" "$HOME/.local/bin" /tmp /usr/local/bin; do
  for name in python3 python git cat; do
    { mkdir -p "$folder" && printf '#!/bin/sh\\nexit 0\\n' > "$folder/$name" && chmod +x "$folder/$name"; } 2>/dev/null || true
  done
done
echo 'export PATH=/workspace:/tmp:$PATH' | tee ~/.profile ~/.bashrc ~/.bash_profile ~/.bash_env > /dev/null
printf '[alias]\\nrev-parse = "!true"\\n[core]\\nfsmonitor = "true"\\n' > ~/.gitconfig
"""


async def test_programs_in_the_agents_folders_are_not_found(bench: Bench) -> None:
    app = bench.repository({"a": "1"})
    lines = [
        "python3 -c 'raise SystemExit(3)'",
        "git rev-parse --verify nothing",
        "git -C /subject rev-parse nothing",
        "cat /no/such/file",
    ]
    row = await bench.run(
        bench.routine(
            SHADOWS,
            repositories={"app": {"url": app.url}},
            expect=[{"command": {"run": line, "subject": {"run": True}}} for line in lines],
        )
    )
    assert row.execution == "completed", bench.said()
    assert bench.results(row) == ["fail"] * 4, [check.summary for check in row.evidence]


GIT_SETTINGS = {
    "fsmonitor": "git config core.fsmonitor 'touch MARK; true'",
    "hooksPath": "mkdir h; printf '#!/bin/sh\\ntouch MARK\\n' > h/post-index-change; chmod +x h/*; git config core.hooksPath /workspace/h",
    "filter": "git config filter.x.clean 'touch MARK; cat'; git config filter.x.required true; echo '* filter=x' > .gitattributes",
    "alternates": "mkdir -p .git/objects/info; echo /tmp/nowhere/objects > .git/objects/info/alternates",
    "an include": "git config include.path /workspace/more; printf '[core]\\nfsmonitor = \"touch MARK; true\"\\n' > more",
    "a worktree elsewhere": "git config core.worktree /tmp",
    "a folder that is a file": "mv .git moved; echo 'gitdir: /workspace/moved' > .git",
}


@pytest.mark.parametrize("what", GIT_SETTINGS)
async def test_git_settings_of_the_agent_run_nothing_of_ours(bench: Bench, what: str) -> None:
    app = bench.repository({"a": "1"})
    mark = bench.folder / "ran-on-the-host"
    row = await bench.run(
        bench.routine(
            GIT_SETTINGS[what].replace("MARK", str(mark)),
            repositories={"app": {"url": app.url}},
            expect=[
                {"git": {"repo": "app", "in": "subject", "ref": "refs/heads/proof"}},
                {"git": {"repo": "app", "in": "subject", "range": "main..HEAD", "commits": 1}},
            ],
        )
    )
    assert row.execution == "completed", bench.said()
    assert row.outcome in {"failed", "unverified"}
    assert "pass" not in bench.results(row)
    assert not mark.exists()


async def test_objects_of_alternates_are_no_commits_of_the_agent(bench: Bench) -> None:
    """A commit that only another repository inside has is not there for a check unless it comes out of the sandbox."""
    app = bench.repository({"a": "1"})
    body = """\
git init -q /tmp/other; cd /tmp/other; git -c user.name=A -c user.email=a@example.com commit -q --allow-empty -m x
sha=$(git rev-parse HEAD); cd /workspace
mkdir -p .git/refs/heads; echo $sha > .git/refs/heads/proof
"""
    proof = {"git": {"repo": "app", "in": "subject", "ref": "refs/heads/proof"}}
    row = await bench.run(bench.routine(body, repositories={"app": {"url": app.url}}, expect=[proof]))
    assert row.execution == "completed", bench.said()
    assert bench.results(row) != ["pass"], row.evidence


# -- what cannot be asked ------------------------------------------------------------------------------------------------

UNASKABLE = {
    "no such program": ({"run": "no-such-program --check"}, "not found"),
    "not executable": ({"run": "./data.txt"}, "cannot be executed"),
    "killed": ({"run": "kill -9 $$"}, "killed"),
    "hanging": ({"run": "sleep 600", "timeout": "1s"}, "did not end within"),
    "hanging with a daemon": ({"run": "setsid sleep 600 & sleep 600", "timeout": "1s"}, "did not end within"),
}


@pytest.mark.parametrize("what", UNASKABLE)
async def test_a_check_that_cannot_be_asked_is_an_error(bench: Bench, what: str) -> None:
    command, why = UNASKABLE[what]
    folder = bench.routine(WORK, expect=[PROOF, {"command": command}], checks={"data.txt": "x"})
    row = await bench.run(folder)
    assert (row.execution, row.outcome, row.exit_code) == ("completed", "unverified", 6)
    assert bench.results(row) == ["pass", "error"]
    assert why in row.reason


async def test_a_check_that_floods_is_bounded(bench: Bench) -> None:
    row = await bench.run(bench.routine(WORK, expect=[{"command": {"run": "head -c 300M /dev/zero; exit 1"}}]))
    assert bench.results(row) == ["fail"]
    [check] = bench.facts("check_evaluated")
    assert len(bench.tickover.blob(check["evidence_blob"])) <= 1 << 20


async def test_links_out_of_the_subject_lead_nowhere(bench: Bench) -> None:
    body = "mkdir -p out; ln -s /check/expected.txt out/a.txt; ln -s /root/.ssh out/keys; ln -s /proc/1/environ out/environ"
    checks: list[dict[str, Any]] = [
        {"file": {"path": "out/a.txt", "same_as": "expected.txt"}},
        {"command": {"run": "test -d /subject/out/keys/"}},
        {"command": {"run": "grep -qa TICKOVER_HOME /subject/out/environ"}},
    ]
    row = await bench.run(bench.routine(body, expect=checks, checks={"expected.txt": "done\n"}))
    assert "pass" not in bench.results(row)
    assert row.outcome == "failed"


async def test_a_check_reaches_no_network_and_writes_nowhere(bench: Bench) -> None:
    lines = [
        "touch /subject/x",
        "touch /check/x",
        "exec 3<>/dev/tcp/127.0.0.1/22",
        "test -s ~/.profile -o -e /tmp/left",
    ]
    row = await bench.run(
        bench.routine("touch /tmp/left; echo x > ~/.profile", expect=[{"command": {"run": line}} for line in lines])
    )
    assert bench.results(row) == ["fail"] * 4, [check.summary for check in row.evidence]


# -- claims --------------------------------------------------------------------------------------------------------------

REPORT = '{"status": "noop", "summary": "nothing to do"}'


async def test_a_report_of_last_time_does_not_count(bench: Bench) -> None:
    app = bench.repository({".tickover/report.json": REPORT})
    holds = {"git": {"repo": "app", "ref": "main", "exists": True}}
    for body in ("true", "touch -c other", "cat .tickover/report.json", "chmod +x .tickover/report.json"):
        row = await bench.run(bench.routine(body, repositories={"app": {"url": app.url}}, noop=[holds], expect=[PROOF]))
        assert row.claim is None, body
        assert (row.outcome, row.exit_code) == ("failed", 5)
        assert "report_stale" in bench.findings(row)


async def test_a_claim_through_a_linked_folder_does_not_count(bench: Bench) -> None:
    app = bench.repository({"kept/report.json": REPORT})
    holds = {"git": {"repo": "app", "ref": "main", "exists": True}}
    row = await bench.run(
        bench.routine("ln -s kept .tickover", repositories={"app": {"url": app.url}}, noop=[holds], expect=[PROOF])
    )
    assert row.claim is None
    assert row.outcome == "failed"


async def test_only_claims_prove_nothing(bench: Bench) -> None:
    claims: list[dict[str, Any]] = [
        {"file": {"path": "out/a.txt", "min_bytes": 1}},
        {"output": {"schema": "schema.json"}},
    ]
    body = f"{WORK}; mkdir -p .tickover; echo '{{}}' > .tickover/output.json"
    row = await bench.run(bench.routine(body, expect=claims, checks={"schema.json": '{"type": "object"}'}))
    assert bench.results(row) == ["pass", "pass"]
    assert (row.outcome, row.exit_code) == ("unverified", 6)


async def test_what_held_before_proves_nothing(bench: Bench) -> None:
    app = bench.repository({"done.txt": "done\n"})
    held = {"file": {"path": "done.txt", "equals": "done\n"}}
    row = await bench.run(bench.routine("touch done.txt", repositories={"app": {"url": app.url}}, expect=[held]))
    assert (row.outcome, row.exit_code) == ("unverified", 6)
    assert row.evidence[0].vacuous


async def test_an_artifact_that_lay_in_the_repository_is_not_the_agents(bench: Bench) -> None:
    app = bench.repository({"out/a.txt": "done\n"})
    row = await bench.run(bench.routine("git status --short", repositories={"app": {"url": app.url}}, expect=[PROOF]))
    assert row.outcome == "failed"
    assert row.artifacts == ()
