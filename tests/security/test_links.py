"""A link that the agent leaves cannot make a check read the check's own files instead of the agent's work.

`cmp want.txt /subject/out/answer` is how people write a check. Each agent here does no work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

COMPARE = "cmp want.txt /subject/out/answer"
RECOUNT = "seq 9 > /tmp/want && cmp /tmp/want /subject/out/answer"
PIPED = "seq 9 | diff - /subject/out/answer"
LINKS = {
    "to the pinned file": ("mkdir out; ln -s /check/want.txt out/answer", COMPARE),
    "to it, upwards": ("mkdir out; ln -s ../../check/want.txt out/answer", COMPARE),
    "to it, through a folder": ("ln -s / root; ln -s root/check out; ln -s want.txt answer", "cmp want.txt /subject/out/want.txt"),
    "to it, through a link of the repository": ("rm docs/real; ln -s /check docs/real; ln -s docs/real out", "cmp want.txt /subject/out/want.txt"),
    "to it, in a folder that cannot be listed": ("mkdir out; ln -s /check/want.txt out/answer; chmod 111 out", COMPARE),
    "to it, behind two of them": (
        "mkdir -p out/a; ln -s /check/want.txt out/a/answer; chmod 111 out/a out", "cmp want.txt /subject/out/a/answer"
    ),
    "to what the check writes": ("mkdir out; ln -s /tmp/want out/answer", RECOUNT),
    "to the check's input": ("mkdir out; ln -s /proc/self/fd/0 out/answer", PIPED),
    "to the check's input, by its other name": ("mkdir out; ln -s /dev/stdin out/answer", PIPED),
}  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
async def test_a_link_is_no_answer(bench: Bench, link: str) -> None:
    agent, check = LINKS[link]
    app = bench.repository({"docs/real": "x", "docs/kept": "x"})
    app.path.joinpath("docs/alias").symlink_to("real")
    app.commit({}, "a link")
    row = await bench.run(
        bench.routine(
            agent,
            repositories={"app": {"url": app.url}},
            checks={"want.txt": "42\n"},
            expect=[{"command": {"run": check}}],
        )
    )
    assert row.execution == "completed", bench.said()
    assert row.outcome == "failed", row.reason


async def test_a_link_within_the_workspace_is_followed(bench: Bench) -> None:
    agent = "mkdir -p out/deep; echo 42 > out/deep/real; ln -s deep/real out/answer; ln -s /nowhere out/broken; ln -s out also"
    check = "cmp want.txt /subject/out/answer && cmp want.txt /subject/also/answer && ! test -L /subject/out/broken"
    row = await bench.run(
        bench.routine(agent, checks={"want.txt": "42\n"}, expect=[{"command": {"run": check}}], artifacts=[])
    )
    assert row.outcome == "verified", row.reason


async def test_links_too_deep_to_be_looked_at_leave_the_work_unproved(bench: Bench) -> None:
    deep = 'import os\nfor _ in range(30): os.mkdir("d" * 200); os.chdir("d" * 200)\nos.symlink("/check/want.txt", "x")'
    row = await bench.run(
        bench.routine(f"```python\n{deep}\n```", checks={"want.txt": "42\n"}, expect=[{"command": {"run": "true"}}])
    )
    assert [str(check.result) for check in row.evidence] == ["error"]
    assert row.outcome == "unverified", row.reason
