"""What an agent finds: repositories, trusted and not, skills, variables, and nothing of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

PROOF = {"file": {"path": "out/a.txt", "equals": "done\n"}}
WORK = "mkdir -p out; echo done > out/a.txt"
SKILL = "---\nname: digest\ndescription: Says {word}.\n---\n\n```bash id=say\necho {word}\n```\n"


async def test_one_repository_is_the_workspace(bench: Bench) -> None:
    app = bench.repository({"a.txt": "one", "deep/b.txt": "two"})
    body = "pwd; git status --short --branch; git log --format=%s; git remote get-url origin; cat a.txt deep/b.txt"
    row = await bench.run(bench.routine(body, repositories={"app": {"url": app.url}}))
    assert row.execution == "completed", bench.said()
    assert bench.said() == f"/workspace\n## main...origin/main\nfirst\n{app.url}\nonetwo"
    assert row.subject == row.trusted == {"app": app.git("rev-parse", "HEAD")}


async def test_several_repositories_stand_side_by_side(bench: Bench) -> None:
    app, lib = bench.repository({"a": "1"}), bench.repository({"b": "2"}, "lib")
    body = "ls; for r in app lib; do git -C $r config user.name A; git -C $r config user.email a@example.com; done\n"
    body += "git -C lib commit -q --allow-empty -m more; git -C app checkout -qb proof"
    checks: list[dict[str, Any]] = [
        {"git": {"repo": "lib", "in": "subject", "range": "main~1..HEAD", "commits": 1}},
        {"git": {"repo": "app", "in": "subject", "ref": "proof"}},
        {"command": {"run": "git --git-dir=/repo/lib.git log -1 --format=%s main && test -f /subject/lib/b"}},
    ]
    repositories = {"app": {"url": app.url}, "lib": {"url": lib.url}}
    row = await bench.run(bench.routine(body, repositories=repositories, expect=checks))
    assert bench.said() == "app\nlib\n"
    assert bench.results(row) == ["pass"] * 3, [check.summary for check in row.evidence]
    assert row.outcome == "verified"  # by the first two: the third held before


async def test_what_judges_comes_from_the_trusted_commit(bench: Bench) -> None:
    honest = {"app.py": "TOTAL = 0\n", "tests/test_app.py": "import app; assert app.TOTAL == 3, 'wrong total'\n"}
    app = bench.repository({**honest, ".claude/skills/digest/SKILL.md": SKILL.format(word="trusted")})
    app.git("checkout", "-qb", "fork")
    forged = {"tests/test_app.py": "print('fine')\n", "tests/test_more.py": "import os; os._exit(0)\n"}
    app.commit({**forged, ".claude/skills/digest/SKILL.md": SKILL.format(word="forged")})
    app.git("checkout", "-q", "main")
    run = "cd /subject && PYTHONPATH=. sh -ec 'for t in tests/*.py; do python3 $t; done'"
    row = await bench.run(
        bench.routine(
            skill="digest",
            repositories={"app": {"url": app.url, "ref": "fork"}},
            expect=[{"command": {"run": run, "subject": {"run": True, "restore": ["tests/**"]}}}],
        )
    )
    assert bench.said() == "trusted\n"
    assert (row.subject["app"], row.trusted["app"]) == (app.git("rev-parse", "fork"), app.git("rev-parse", "main"))
    assert (row.outcome, row.exit_code) == ("failed", 5)
    assert "wrong total" in row.reason


async def test_another_commit_of_the_repository_is_another_workspace(bench: Bench) -> None:
    app = bench.repository({"a.txt": "one\n"})
    folder = bench.routine("cat a.txt; echo changed > a.txt", repositories={"app": {"url": app.url}})
    await bench.run(folder)
    assert bench.said() == "one\n"
    app.commit({"a.txt": "two\n"})
    await bench.run(folder)
    assert bench.said() == "two\n"
    await bench.run(folder)
    assert bench.said() == "two\n", "what the agent changed went with its run"


async def test_variables_and_nothing_of_the_host(bench: Bench) -> None:
    row = await bench.run(
        bench.routine(
            "env | cut -d= -f1 | sort; echo $GREETING; ls -A ~ /tmp", environment={"env": {"GREETING": "hello"}}
        )
    )
    assert row.execution == "completed"
    said = bench.said().splitlines()
    known = {"GREETING", "HOME", "LANG", "PATH", "PWD", "SHLVL", "TERM", "USER", "_", "OLDPWD", "LC_CTYPE"}
    names = {name for name in said if name.replace("_", "").isupper()}
    assert {name for name in names if not name.startswith("TICKOVER_")} <= known
    assert "hello" in said
    assert said[-3:] == ["/home/agent:", "", "/tmp:"]


async def test_the_same_routine_has_the_same_version(bench: Bench) -> None:
    folder = bench.routine(WORK, expect=[PROOF], checks={"x.txt": "1"})
    first, second = await bench.run(folder), await bench.run(folder)
    (folder / "checks/x.txt").write_text("2")
    third = await bench.run(folder)
    assert first.version == second.version != third.version
    assert first.version is not None
