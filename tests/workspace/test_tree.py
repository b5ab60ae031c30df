from __future__ import annotations

from typing import Any

import pytest

from tickover.core.errors import TickoverError
from tickover.workspace.mirror import Mirrors
from tickover.workspace.tree import Tree


async def tree_of(mirrors: Mirrors, source: Any, **limits: int) -> Tree:
    commit = await mirrors.resolve(str(source.path))
    return Tree(mirrors.git, commit.mirror, commit.sha, **limits)


async def test_files_links_and_submodules_are_told_apart(mirrors: Mirrors, source: Any) -> None:
    (source.path / "run.sh").write_text("#!/bin/sh\n")
    (source.path / "run.sh").chmod(0o755)
    (source.path / "link").symlink_to("/etc/passwd")
    sha = source.git("rev-parse", "HEAD")
    source.git("update-index", "--add", "--cacheinfo", f"160000,{sha},module")
    source.git("add", "run.sh", "link")
    source.git("commit", "-qm", "kinds")
    tree = await tree_of(mirrors, source)
    kinds = {entry.path: entry.kind for entry in await tree.entries()}
    assert kinds == {
        "README.md": "file", "link": "symlink", "module": "submodule", "requirements.txt": "file",
        "run.sh": "executable", "src/app.py": "file",
    }  # fmt: skip
    assert await tree.read("link") is None
    assert await tree.read("module") is None
    assert [file.path for file in await tree.files("")] == ["README.md", "requirements.txt", "run.sh", "src/app.py"]
    assert (await tree.files("run.sh"))[0].executable
    loaded = await tree.load("src", "link")
    assert loaded.read("src/app.py") == b"print(1)\n"
    assert loaded.read("link") == b"/etc/passwd"
    assert [(file.path, file.mode) for file in loaded.list("src")] == [("src/app.py", 0o100644)]
    assert [file.path for file in await tree.matching(["**/*.py", "*.txt"])] == ["requirements.txt", "src/app.py"]


async def test_a_path_is_taken_as_it_is(mirrors: Mirrors, source: Any) -> None:
    odd = {"a*b": "star", ":(top)x": "magic", "new\nline": "line", "-x": "dash", "sp ace\t": "tab"}
    source.commit(dict(odd))
    tree = await tree_of(mirrors, source)
    for name, text in odd.items():
        assert await tree.read(name) == text.encode()
    for name in ("a?b", "README.md/x", "../source", "/etc/passwd", "", "src", "nothing", "a\0b", "src//app.py"):
        assert await tree.read(name) is None
    assert await tree.entries("a?b") == []
    assert [entry.path for entry in await tree.entries("src")] == ["src/app.py"]


async def test_names_that_are_no_text(mirrors: Mirrors, source: Any) -> None:
    blob = bytes.fromhex(source.git("rev-parse", "HEAD:README.md"))
    source.commit_tree(b"100644 \xff\xfe\0" + blob)
    tree = await tree_of(mirrors, source)
    [entry] = await tree.entries()
    assert entry.path == "\udcff\udcfe"
    assert await tree.read(entry.path) == b"one\n"


async def test_a_large_file_is_refused_before_it_is_read(mirrors: Mirrors, source: Any) -> None:
    source.commit({"big": b"x" * 2000})
    tree = await tree_of(mirrors, source, max_bytes=1000)
    with pytest.raises(TickoverError) as caught:
        await tree.read("big")
    assert caught.value.code == "repository.too_large"
    assert await tree.read("README.md") == b"one\n"


async def test_a_tree_of_ten_to_the_tenth_files_ends_in_an_error(mirrors: Mirrors, source: Any) -> None:
    below = source.git("rev-parse", "HEAD:README.md")
    kind = b"100644"
    for _ in range(10):
        entries = b"".join(kind + b" %d\0" % number + bytes.fromhex(below) for number in range(10))
        below = source.git("hash-object", "-t", "tree", "-w", "--stdin", stdin=entries)
        kind = b"40000"
    source.git("update-ref", "refs/heads/main", source.git("commit-tree", below, "-m", "bomb"))
    tree = await tree_of(mirrors, source, max_entries=1000)
    with pytest.raises(TickoverError) as caught:
        await tree.entries()
    assert caught.value.code == "repository.too_large"
    assert (await tree.entry("0/0/0/0/0/0/0/0/0/0")) is not None


async def test_the_digest_is_gits_own(mirrors: Mirrors, source: Any) -> None:
    tree = await tree_of(mirrors, source)
    assert await tree.digest("src") == source.git("rev-parse", "HEAD:src")
    assert await tree.digest("") == source.git("rev-parse", "HEAD^{tree}")
    assert await tree.digest("nothing") is None
    assert await tree.digest("../x") is None
