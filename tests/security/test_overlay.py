"""What an agent does to the file system below its workspace, and what a repository brings: judged as it looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

MARKS = """
import os, stat

def attempt(what, *arguments):
    try:
        what(*arguments)
    except OSError:
        return

for name in ("opaque", "redirect", "metacopy", "whiteout", "origin", "overlay.opaque", "overlay.redirect"):
    for space in ("user", "trusted"):
        for path in ("docs", "docs/b", "a"):
            attempt(os.setxattr, path, f"{space}.overlay.{name}", b"y" if "opaque" in name else b"/check")
for path in ("a", "docs/c", "out"):
    attempt(os.unlink, path)
    attempt(os.mknod, path, stat.S_IFCHR | 0o666, 0)  # an overlay's way to say that there is nothing
attempt(os.chmod, "docs/b", 0o6777)
"""


async def test_marks_of_the_overlay_mean_nothing(bench: Bench) -> None:
    app = bench.repository({"a": "1", "docs/b": "2", "docs/c": "3"})
    looks = "cat /subject/docs/b && ! test -e /subject/a && ! test -e /subject/docs/c && ! test -e /subject/out"
    row = await bench.run(
        bench.routine(
            f"```python\n{MARKS}```",
            repositories={"app": {"url": app.url}},
            expect=[
                {"command": {"run": f'test "$({looks})" = 2'}},
                {"command": {"run": "test -e /subject/want.txt || test -e /subject/docs/want.txt"}},
            ],
            checks={"want.txt": "2"},
        )
    )
    assert bench.results(row) == ["pass", "fail"], [check.summary for check in row.evidence]


async def test_links_that_a_repository_brings_lead_no_run_astray(bench: Bench) -> None:
    app = bench.repository({"a": "1"})
    for name, target in ((".tickover", "/etc"), ("state", "../.."), ("out", "/etc"), ("answer", "/check/want.txt")):
        app.path.joinpath(name).symlink_to(target)
    app.commit({}, "links")
    row = await bench.run(
        bench.routine(
            "test -d state && ! test -L state; ! test -e out; echo x > state/kept",
            repositories={"app": {"url": app.url}},
            state=True,
            artifacts=["out/**"],
            checks={"want.txt": "42\n"},
            expect=[{"command": {"run": "cmp want.txt /subject/answer"}}],
        )
    )
    assert row.execution == "completed", bench.said()
    assert row.outcome == "unverified", row.reason  # it held before the agent started
    assert row.artifacts == ()
