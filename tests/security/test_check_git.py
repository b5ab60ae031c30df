"""Git in a check: `git -C /subject` would run what the agent wrote into `.git/config`, with the check's rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

MARK = "/tmp/agent-ran-in-the-check"
AGENT = f"""\
git config core.fsmonitor 'touch {MARK}; true'
git config diff.external 'touch {MARK}; true'
git config filter.liar.clean 'touch {MARK}; cat'
echo '* filter=liar' > .gitattributes
echo changed > a
mkdir nested; git -C nested init -q; git -C nested config core.fsmonitor 'touch {MARK}; true'
"""
READS = {
    "-C": "git -C /subject status",
    "the working folder": "cd /subject; git diff HEAD; git log -1",
    "a folder below": "cd /subject/docs; git status",
    "a repository below": "git -C /subject/nested status",
    "the safe folders of a checker of its own": "git -c safe.directory=/elsewhere -C /subject status",
}


@pytest.mark.parametrize("read", READS)
async def test_the_agents_git_configuration_runs_nothing_in_a_check(bench: Bench, read: str) -> None:
    app = bench.repository({"a": "1", "docs/b": "2"})
    routine = bench.routine(
        AGENT,
        repositories={"app": {"url": app.url}},
        # That the marker is there is what the agent wants; that git refused is what the second one says.
        expect=[
            {"command": {"run": f"{READS[read]}; test -e {MARK}"}},
            {"command": {"run": f"({READS[read]}) 2>&1 | grep -q 'dubious ownership'", "guard": True}},
        ],
    )
    row = await bench.run(routine)
    assert bench.results(row) == ["fail", "pass"], [check.summary for check in row.evidence]


async def test_our_mirror_is_read_as_always(bench: Bench) -> None:
    app = bench.repository({"a": "1"})
    lines = [
        "git -C /repo/app.git log --format=%s $TICKOVER_COMMIT_APP | grep -qx first",
        "git --git-dir=/repo/app.git --work-tree=/subject diff --quiet $TICKOVER_COMMIT_APP -- a || test $? = 1",
        "git clone -q -b main /repo/app.git /tmp/app && git -c safe.directory='*' -C /tmp/app log --format=%s | grep -qx first",
    ]
    row = await bench.run(
        bench.routine(
            "echo x > out",
            repositories={"app": {"url": app.url}},
            expect=[{"command": {"run": f"test -e /subject/out && {line}"}} for line in lines],
        )
    )
    assert bench.results(row) == ["pass", "pass", "pass"], [check.summary for check in row.evidence]
