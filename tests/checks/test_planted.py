"""What an agent plants in its workspace does not reach the program that judges it.

Each routine does no work, plants something, and is judged twice: by a `pinned` check, which must stay false, and by a
`naive` one that looks at the workspace the way people do it by hand. The naive one must be fooled: else the plant
is none, and the test proves nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tickover.app import Tickover
from tickover.control.dispatch import RunRequest
from tickover.core.row import RunRow

CHECK = """\
import json
answer = json.load(open("/subject/out/answer.json"))
raise SystemExit(0 if answer == {"sum": 42} else f"the sum is {answer}")
"""
TOOL = """\
# A tool that takes its settings from the folder it stands in, as test runners do.
import os, sys
for name in ("conftest.py", "pyproject.toml"):
    if os.path.exists(name):
        exec(open(name).read())
sys.exit("1 failed")
"""
FOOL = "import os; os._exit(0)"


@dataclass(frozen=True)
class Plant:
    """What the agent runs, and the two judges."""

    plant: str
    pinned: str = "python3 check.py"
    naive: str = ""


PLANTS = {
    "json.py": Plant(
        f"echo '{FOOL}' > json.py",
        naive="cd /subject && env -u PYTHONSAFEPATH python3 -c 'import json; raise SystemExit(1)'",
    ),
    "sitecustomize.py": Plant(
        f"for d in . ~/.local/lib/python3*/site-packages /usr/lib/python3/dist-packages; do"
        f" {{ mkdir -p $d && echo '{FOOL}' > $d/sitecustomize.py; }} 2>/dev/null || true; done",
        naive="PYTHONPATH=/subject python3 check.py",
    ),
    "a .pth file": Plant(
        f"for d in lib /usr/lib/python3/dist-packages; do"
        f" {{ mkdir -p $d && echo '{FOOL}' > $d/liar.pth; }} 2>/dev/null || true; done",
        naive="""python3 -c 'import site; site.addsitedir("/subject/lib"); raise SystemExit(1)'""",
    ),
    "conftest.py": Plant(
        f"echo '{FOOL}' > conftest.py", pinned="python3 tool.py", naive="cd /subject && python3 /check/tool.py"
    ),
    "pyproject.toml": Plant(
        f"echo '{FOOL}' > pyproject.toml", pinned="python3 tool.py", naive="cd /subject && python3 /check/tool.py"
    ),
    "Makefile": Plant(
        "printf 'verify:\\n\\ttrue\\n' > Makefile; cp Makefile GNUmakefile",
        pinned="make -s verify",
        naive="make -s -C /subject verify",
    ),
    "node_modules/.bin": Plant(
        "mkdir -p node_modules/.bin; ln -s /bin/true node_modules/.bin/python3",
        naive="PATH=/subject/node_modules/.bin:$PATH python3 check.py",
    ),
    "a python3 of its own": Plant(
        "for d in . ~/bin ~/.local/bin /usr/local/bin; do mkdir -p $d && ln -sf /bin/true $d/python3 || true; done;"
        " echo 'PATH=/workspace:$PATH' | tee -a ~/.profile ~/.bashrc ~/.bash_profile > /dev/null",
        naive="PATH=/subject:$PATH python3 check.py",
    ),
}  # fmt: skip


@pytest.fixture
async def tickover(tmp_path: Path) -> AsyncIterator[Tickover]:
    async with await Tickover.open(tmp_path / "home") as tickover:
        yield tickover


def repository(folder: Path) -> Path:
    folder.mkdir()
    (folder / "README").write_text("hello\n")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    for arguments in (("init", "-qb", "main"), ("add", "."), (*who, "commit", "-qm", "one")):
        subprocess.run(["git", "-C", folder, *arguments], check=True, env=env)
    return folder


async def run(tickover: Tickover, folder: Path, plant: str, checks: list[dict[str, object]]) -> RunRow:
    routine = folder / "planted"
    (routine / "checks").mkdir(parents=True)
    (routine / "checks" / "check.py").write_text(CHECK)
    (routine / "checks" / "tool.py").write_text(TOOL)
    (routine / "checks" / "Makefile").write_text("verify:\n\tpython3 check.py\n")
    front = {
        "name": "planted",
        "agent": "steps",
        "repositories": {"app": {"url": repository(folder / "app").as_uri()}},
        "expect": checks,
    }
    lies = 'mkdir -p out; echo "{\\"sum\\": 41}" > out/answer.json'
    text = f"---\n{json.dumps(front)}\n---\n```bash id=plant\n{lies}\n{plant}\n```\n"
    (routine / "ROUTINE.md").write_text(text)
    return await tickover.run(RunRequest(folder=str(routine)))


@pytest.mark.parametrize("name", PLANTS)
async def test_a_false_check_stays_false(tickover: Tickover, tmp_path: Path, name: str) -> None:
    plant = PLANTS[name]
    judges: list[dict[str, object]] = [
        {"command": {"run": line, "subject": {"run": True}}} for line in (plant.pinned, plant.naive)
    ]
    row = await run(tickover, tmp_path, plant.plant, [*judges, {"file": {"path": "out/answer.json", "equals": "42"}}])
    assert row.execution == "completed", row
    results = [check.result for check in row.evidence]
    assert results == ["fail", "pass", "fail"], [check.summary for check in row.evidence]
    assert row.outcome == "failed"


async def test_a_linked_folder_is_not_followed(tickover: Tickover, tmp_path: Path) -> None:
    plant = "rm -rf out; ln -s /check out; ln -s /etc/passwd secret; mkdir real; ln -s /etc/shadow real/x"
    checks: list[dict[str, object]] = [
        {"file": {"path": "out/check.py", "same_as": "check.py"}},
        {"file": {"path": "secret", "min_bytes": 1}},
        {"file": {"path": "real/x", "min_bytes": 1}},
    ]
    row = await run(tickover, tmp_path, plant, checks)
    assert [check.result for check in row.evidence] == ["fail", "fail", "fail"]
    assert row.outcome == "failed"
    assert not row.artifacts
    assert [refused.path for refused in row.refused_artifacts] == ["out"]


GIT = """\
git config user.name A; git config user.email a@example.com; git checkout -qb proof
echo x > x; git add x; git commit -qm two
cat >> .git/config <<CONFIG
[core]
    fsmonitor = "touch MARK; true"
    hooksPath = /workspace/hooks
    sshCommand = "touch MARK"
    alternateRefsCommand = "touch MARK"
[filter "liar"]
    clean = "touch MARK; cat"
    smudge = "touch MARK; cat"
    required = true
[uploadpack]
    packObjectsHook = "touch MARK; true"
[remote "origin"]
    uploadpack = "touch MARK; true"
CONFIG
mkdir hooks; printf '#!/bin/sh\ntouch MARK\n' | tee hooks/post-checkout hooks/pre-auto-gc hooks/reference-transaction > /dev/null
chmod +x hooks/*; echo '* filter=liar' > .gitattributes
"""


@pytest.mark.parametrize(
    ("then", "results"),
    [
        ("true", ["pass", "pass"]),
        (f"mkdir -p .git/refs/heads; echo {'1' * 40} > .git/refs/heads/proof", ["error|fail", "error|fail"]),
        ("echo garbage > .git/refs/heads/proof", ["error|fail", "error|fail"]),
        ("rm -rf .git; ln -s /repo/app.git .git", ["error|fail", "error|fail"]),
        ("rm -rf .git; mkfifo .git", ["error|fail", "error|fail"]),
    ],
)
async def test_the_agents_git_folder_is_data(tickover: Tickover, tmp_path: Path, then: str, results: list[str]) -> None:
    mark = tmp_path / "ran-on-the-host"
    plant = f"{GIT.replace('MARK', str(mark))}\n{then}"
    checks: list[dict[str, object]] = [
        {"git": {"repo": "app", "in": "subject", "ref": "refs/heads/proof", "exists": True}},
        {"git": {"repo": "app", "in": "subject", "range": "main..proof", "commits": 1}},
    ]
    row = await run(tickover, tmp_path, plant, checks)
    assert row.execution == "completed", row
    said = [check.result.value for check in row.evidence]
    assert all(one in wanted.split("|") for one, wanted in zip(said, results, strict=True)), row.evidence
    assert (row.outcome == "verified") is (results == ["pass", "pass"])
    assert not mark.exists()
