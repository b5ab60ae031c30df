from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.errors import TickoverError
from tickover.sandbox.base import ResourceLimits
from tickover.sandbox.bwrap import BwrapBackend
from tickover.workspace.base import TrustedFile, Workspace
from tickover.workspace.folders import Folders
from tickover.workspace.layer import Layers, Setup, SetupFailed, declared_files, host_base, undeclared
from tickover.workspace.mirror import Mirrors
from tickover.workspace.tree import Tree


@pytest.fixture
def layers(data: Path, backend: BwrapBackend, folders: Folders) -> Layers:
    return Layers(data, backend, folders)


async def known() -> list[str]:
    return ["README.md", "requirements.txt", "sub/package.json", "src/a.py", "src/b.py"]


async def failure(layers: Layers, script: str, **options: Any) -> SetupFailed:
    with pytest.raises(SetupFailed) as caught:
        await layers.get(Setup(script), known_paths=known, **options)
    assert [path for path in layers.shelf.root.iterdir() if path.is_dir()] == [], "nothing of it is kept"
    return caught.value


async def test_what_setup_leaves_is_there_for_the_agent(layers: Layers, agent: Any, empty: Workspace) -> None:
    setup = Setup(
        "mkdir -p ~/bin\necho 'echo tool' > ~/bin/tool\nchmod +x ~/bin/tool\necho $WORD > ~/word\ntouch here /tmp/t",
        env={"WORD": "hi"},
    )
    held, made = await layers.get(setup)
    with held:
        assert made.built
        assert made.size > 0
        assert b"++ 1: mkdir -p /home/agent/bin" in made.output
        worked = await agent(empty, "~/bin/tool; cat ~/word; ls -A . /tmp; echo mine > ~/word", layers=(made.path,))
        assert worked.output == "tool\nhi\n.:\n\n/tmp:\n"
        again = await agent(empty, "cat ~/word", layers=(made.path,))
        assert again.output == "hi\n"


async def test_the_second_time_it_is_taken_from_the_shelf(layers: Layers) -> None:
    setup = Setup("date +%s%N > ~/stamp; echo done")
    held, first = await layers.get(setup)
    again, second = await layers.get(setup)
    assert (first.built, second.built) == (True, False)
    assert (first.path, first.output, first.key) == (second.path, second.output, second.key)
    held.close()
    again.close()


async def test_two_who_set_up_at_once_do_it_once(
    layers: Layers, data: Path, backend: BwrapBackend, folders: Folders
) -> None:
    setup = Setup("echo $RANDOM$RANDOM > ~/n")
    made = await asyncio.gather(*(Layers(data, backend, folders).get(setup) for _ in range(3)))
    assert sum(result.built for _, result in made) == 1
    assert len({result.path for _, result in made}) == 1
    for held, _ in made:
        held.close()


async def test_an_old_layer_is_built_anew(data: Path, backend: BwrapBackend, folders: Folders) -> None:
    now = 1000.0
    layers = Layers(data, backend, folders, clock=lambda: now)
    setup = Setup("true", refresh_s=60)
    held, first = await layers.get(setup)
    now = 1061.0
    again, second = await layers.get(setup)
    assert second.built
    assert second.path != first.path
    held.close()
    again.close()


def test_all_that_matters_is_in_the_key() -> None:
    base = Setup("true")
    others = [
        Setup("false"),
        Setup("true", files=(TrustedFile("a", b"1"),)),
        Setup("true", files=(TrustedFile("a", b"2"),)),
        Setup("true", files=(TrustedFile("a", b"1", executable=True),)),
        Setup("true", base="host 13"),
        Setup("true", network=("packages",)),
        Setup("true", env={"A": "1"}),
        Setup("true", credentials=("pypi",)),
    ]
    keys = {setup.key() for setup in (base, *others)}
    assert len(keys) == 1 + len(others)
    assert Setup("true", refresh_s=1).key() == base.key()
    assert Setup("true", network=("b", "a")).key() == Setup("true", network=("a", "b")).key()


@pytest.mark.parametrize(
    ("script", "line", "code"),
    [
        ("echo 1\nfalse\necho 3", 2, "exit 1"),
        ("f() {\n  echo in\n  false\n}\nf", 3, "exit 1"),
        ("echo\necho $NOT_SET", 2, "exit 1"),
        ("if true\nthen\n  (cd /; false)\nfi", 3, "exit 1"),
        ("echo\ntrue | false | true", 2, "exit 1"),
        ("for i in 1 2; do\n  test $i = 1\ndone", 2, "exit 1"),
        ("echo\nexit 7", 2, "exit 7"),
        ("x=1\nv=$(false)\necho no", 2, "exit 1"),
        ("cat <<X\nfoo\nX\nfalse", 4, "exit 1"),
        ("echo\nif", 3, "exit 2"),
        ("echo\nno-such-program", 2, "exit 127"),
        ("echo\nset +x\nfalse || true\nexit 3", 2, "exit 3"),
        ("echo\nkill -9 $$", 2, "signalled"),
        ("echo\nprintf 'no end of line'\nfalse", 3, "exit 1"),
    ],
)
async def test_a_failure_shows_its_line(layers: Layers, script: str, line: int, code: str) -> None:
    error = await failure(layers, script)
    assert error.code == "setup.failed"
    assert error.line == line
    assert error.where is not None
    assert error.where.line == line
    assert code in error.message


async def test_a_failure_carries_the_last_output(layers: Layers) -> None:
    error = await failure(
        layers, "for i in {1..20000}; do echo out $i; done\nprintf 'last \\033[31mwords\\n' >&2\nfalse"
    )
    assert "last words" in error.message
    assert "at line 3: `false`" in error.message
    assert len(error.message) < 5000
    assert b"bytes left out" in error.output
    assert error.output.startswith(b"++ 1: for i in")
    assert len(error.output) < 600_000


async def test_a_hanging_setup_is_ended_with_its_daemons(layers: Layers) -> None:
    daemon = "import os, signal\nif os.fork() == 0: os.setsid(); signal.signal(15, signal.SIG_IGN); signal.pause()"
    error = await failure(layers, f"echo begun\npython3 -c '{daemon}'\nsleep 4000", timeout_s=2)
    assert error.code == "setup.timed_out"
    assert error.line == 4
    assert "begun" in error.message


async def test_a_setup_over_its_memory_is_told_so(layers: Layers) -> None:
    limits = ResourceLimits(memory=100 << 20)
    error = await failure(layers, "echo\npython3 -c 'x = bytearray(400 << 20)'", limits=limits)
    assert error.code == "setup.failed"
    assert error.line == 2


async def test_only_declared_files_are_there_and_they_are_thrown_away(
    layers: Layers, agent: Any, empty: Workspace
) -> None:
    files = (
        TrustedFile("requirements.txt", b"x==1\n"),
        TrustedFile("sub/run", b"#!/bin/sh\necho ran\n", executable=True),
    )
    setup = Setup(
        "find . -type f | sort\npwd\n./sub/run\necho more >> requirements.txt\ncp requirements.txt ~/", files=files
    )
    held, made = await layers.get(setup)
    with held:
        said = [line for line in made.output.decode().splitlines() if not line.startswith("+")]
        assert said == ["./requirements.txt", "./sub/run", "/workspace", "ran"]
        worked = await agent(empty, "ls -A; cat ~/requirements.txt", layers=(made.path,))
        assert worked.output == "x==1\nmore\n"


@pytest.mark.parametrize(
    ("script", "hint"),
    [
        ("cat requirements.txt", "add files: [requirements.txt]"),
        ("python3 -c 'open(\"sub/package.json\")'", "add files: [sub/package.json]"),
        ("cat /workspace/README.md", "add files: [README.md]"),
        ("cd sub && ls", "add files: [sub]"),
        ("bash ./src/a.py", "add files: [src/a.py]"),
        ("cat nothing-of-ours", ""),
        ("echo requirements.txt is fine; false", ""),
    ],
)
async def test_the_absence_of_an_undeclared_file_gets_a_hint(layers: Layers, script: str, hint: str) -> None:
    assert (await failure(layers, script)).hint == hint


def test_hints_name_what_tools_of_the_trade_miss() -> None:
    known = ["requirements.txt", "package-lock.json", "pyproject.toml", "setup.py", "go.mod", "web/yarn.lock"]
    cases = {
        "ERROR: Could not open requirements file: [Errno 2] No such file or directory: 'requirements.txt'": [
            "requirements.txt"
        ],
        "npm ERR! The `npm ci` command can only install with an existing package-lock.json": ["package-lock.json"],
        "ERROR: Directory '.' is not installable. Neither 'setup.py' nor 'pyproject.toml' found.": [
            "setup.py",
            "pyproject.toml",
        ],
        "go: go.mod file not found in current directory": ["go.mod"],
        "error: open /workspace/web/yarn.lock: no such file": ["web/yarn.lock"],
        "ENOENT: no such file, open 'yarn.lock'": ["web/yarn.lock"],
    }
    for output, expected in cases.items():
        assert undeclared(output, [], known) == expected
        assert undeclared(output, known, known) == []


@given(st.text(max_size=300), st.lists(st.text(min_size=1, max_size=10), max_size=5))
def test_a_hint_names_only_what_the_commit_has(output: str, known: list[str]) -> None:
    folders = {path[:place] for path in known for place, letter in enumerate(path) if letter == "/"}
    assert set(undeclared(f"not found: {output}", [], known)) <= set(known) | folders


async def test_a_set_id_bit_makes_no_layer(layers: Layers) -> None:
    with pytest.raises(TickoverError) as caught:
        await layers.get(Setup("cp /bin/true ~/t\nchmod u+s ~/t\nstat -c %a ~/t | grep -q 4755"))
    assert caught.value.code == "layer.unsafe"
    assert [path for path in layers.shelf.root.iterdir() if path.is_dir()] == []


async def test_what_setup_removes_stays_removed(layers: Layers, agent: Any, empty: Workspace) -> None:
    held, first = await layers.get(Setup("echo x > ~/a; mkdir ~/d; echo y > ~/d/b"))
    with held:
        assert stat.S_ISREG(os.lstat(first.path / "home/agent/a").st_mode)
        worked = await agent(empty, "rm ~/a; rm -r ~/d; mkdir ~/d; ls -A ~/d ~ | grep -c . ", layers=(first.path,))
        assert worked.exit.code == 0


async def test_declared_files_come_from_the_trusted_commit(mirrors: Mirrors, source: Any, tmp_path: Path) -> None:
    commit = await mirrors.resolve(str(source.path))
    tree = Tree(mirrors.git, commit.mirror, commit.sha)
    source.commit({"requirements.txt": "evil\n"})
    one = await declared_files({"app": tree}, ["requirements.txt", "src", "src/app.py"])
    assert [(file.path, file.data) for file in one] == [
        ("requirements.txt", b"# none\n"),
        ("src/app.py", b"print(1)\n"),
    ]
    two = await declared_files({"app": tree, "lib": tree}, ["lib:requirements.txt", "app:README.md"])
    assert [file.path for file in two] == ["lib/requirements.txt", "app/README.md"]
    assert [file.path for file in await declared_files({"app": tree}, ["app:README.md"])] == ["README.md"]
    for trees, wrong, hint in (
        ({"app": tree}, "requirement.txt", "requirements.txt"),
        ({"app": tree, "lib": tree}, "README.md", "REPO:PATH"),
        ({"app": tree, "lib": tree}, "other:README.md", "app, lib"),
        ({}, "README.md", "none"),
    ):
        with pytest.raises(TickoverError) as caught:
            await declared_files(trees, [wrong])
        assert caught.value.code == "setup.no_file"
        assert hint in caught.value.hint


def test_the_base_is_named_by_system_and_python() -> None:
    assert host_base().startswith("host ")
    assert "python3" in host_base()
