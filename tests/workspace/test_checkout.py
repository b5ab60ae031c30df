from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tickover.core.errors import TickoverError
from tickover.workspace.artifacts import collect
from tickover.workspace.checkout import Checkouts
from tickover.workspace.mirror import Mirrors


async def test_a_clone_like_any_other(mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any) -> None:
    source.git("tag", "v1")
    source.git("branch", "other")
    sha = source.commit({"link-target": "x", "src/app.py": "print(2)\n"})
    commit = await mirrors.resolve(str(source.path))
    script = """
        git status --porcelain; git rev-parse HEAD; git branch -vv --no-color | head -1; git tag; git branch -r
        git remote get-url origin; git rev-list --count HEAD; git fsck --strict 2>&1 | grep -v notice || true
        echo change > src/app.py; git status --porcelain; git commit -qam 'a commit'; git log -1 --format=%s
        python3 src/app.py 2>&1 | tail -1
    """
    async with checkouts.workspace({"app": commit}) as workspace:
        worked = await agent(workspace, script)
    lines = worked.output.splitlines()
    assert lines[0] == sha
    assert lines[1].startswith("* main ")
    assert "[origin/main]" in lines[1]
    assert [line.strip() for line in lines[2:]][:4] == [
        "v1",
        "origin/HEAD -> origin/main",
        "origin/main",
        "origin/other",
    ]
    assert str(source.path) in lines
    assert "2" in lines
    assert " M src/app.py" in lines
    assert "a commit" in lines
    assert source.git("rev-parse", "HEAD") == sha


async def test_the_second_time_it_is_there(mirrors: Mirrors, checkouts: Checkouts, source: Any) -> None:
    commit = await mirrors.resolve(str(source.path))
    with await checkouts.get("app", commit) as first, await checkouts.get("app", commit) as second:
        assert (first.built, second.built) == (True, False)
        assert first.path == second.path
    source.git("branch", "more")
    with await checkouts.get("app", await mirrors.resolve(str(source.path))) as third:
        assert third.built, "a clone of now shows the branches of now"


async def test_builders_race_to_one_checkout(mirrors: Mirrors, checkouts: Checkouts, source: Any) -> None:
    commit = await mirrors.resolve(str(source.path))
    held = await asyncio.gather(*(checkouts.get("app", commit) for _ in range(4)))
    assert sum(one.built for one in held) == 1
    assert len({one.path for one in held}) == 1
    for one in held:
        one.close()


async def test_what_one_run_writes_no_other_sees(
    mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any
) -> None:
    commit = await mirrors.resolve(str(source.path))
    async with checkouts.workspace({"app": commit}) as workspace:
        await agent(workspace, "rm -rf README.md .git src; echo evil > requirements.txt")
        second = await agent(workspace, "git status --porcelain; cat requirements.txt README.md src/app.py")
    assert second.output == "# none\none\nprint(1)\n"


async def test_status_reads_no_file_again(mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any) -> None:
    """The index fits in every sandbox; a change of equal size in the same second is still seen."""
    commit = await mirrors.resolve(str(source.path))
    async with checkouts.workspace({"app": commit}) as workspace:
        worked = await agent(
            workspace,
            "git ls-files --debug | grep -c 'mtime: 1767603600'; GIT_TRACE2_PERF=/tmp/t git status --porcelain;"
            "printf 'two\\n' > README.md; git status --porcelain",
        )
    assert worked.output.split("\n")[0] == "3"
    assert worked.output.split("\n")[1:] == [" M README.md", ""]


async def test_several_repositories_lie_beside_each_other(
    mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any, tmp_path: Path
) -> None:
    other = type(source)(tmp_path / "other")
    other.path.mkdir()
    other.git("init", "-q", "-b", "trunk")
    other.commit({"lib.py": "x = 1\n"})
    commits = {"app": await mirrors.resolve(str(source.path)), "lib": await mirrors.resolve(str(other.path))}
    async with checkouts.workspace(commits) as workspace:
        worked = await agent(workspace, "ls; git -C app status -sb; git -C lib status -sb; cat lib/lib.py; ls /repo")
    assert worked.output == "app\nlib\n## main...origin/main\n## trunk...origin/trunk\nx = 1\napp.git\nlib.git\n"


async def test_no_repository_is_an_empty_folder(checkouts: Checkouts, agent: Any) -> None:
    async with checkouts.workspace({}) as workspace:
        worked = await agent(workspace, "ls -A; echo x > y; stat -c '%u %a' .")
    assert worked.output == "1000 755\n"


async def test_a_tag_or_a_commit_is_detached(mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any) -> None:
    source.git("tag", "v1")
    async with checkouts.workspace({"app": await mirrors.resolve(str(source.path), "v1")}) as workspace:
        worked = await agent(workspace, "git symbolic-ref -q HEAD || git rev-parse HEAD; git status --porcelain")
    assert worked.output.strip() == source.git("rev-parse", "HEAD")


async def test_a_shallow_source(
    mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any, tmp_path: Path
) -> None:
    source.commit({"a": "2"})
    shallow = tmp_path / "shallow"
    source.git("clone", "-q", "--depth=1", f"file://{source.path}", str(shallow))
    async with checkouts.workspace({"app": await mirrors.resolve(str(shallow))}) as workspace:
        worked = await agent(
            workspace,
            "git rev-list --count HEAD; git status --porcelain; git fsck 2>&1; git rev-parse --is-shallow-repository",
        )
    assert worked.output == "1\ntrue\n"


async def test_links_that_lead_out_stay_links(
    mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any, blobs: Any, backend: Any, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("treasure")
    (source.path / "out").mkdir()
    (source.path / "out/a").symlink_to(secret)
    (source.path / "up").symlink_to("../../../../../../etc/shadow")
    (source.path / "dir").symlink_to("/")
    source.commit({})
    commit = await mirrors.resolve(str(source.path))
    async with checkouts.workspace({"app": commit}) as workspace:
        worked = await agent(workspace, "cat out/a up 2>&1 || true; readlink up")
        found = await collect(backend, worked.workspace, ["out/**", "dir/**"], blobs.put)
    assert "treasure" not in worked.output
    assert worked.output.count("No such file") == 2
    assert found.files == ()


async def test_filters_hooks_and_lfs_of_the_content_run_nowhere(
    mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"
    source.commit(
        {
            ".gitattributes": "*.bin filter=lfs\n*.txt filter=evil ident eol=crlf\n",
            ".gitconfig": '[filter "evil"]\n\tsmudge = touch /workspace/pwned\n',
            ".lfsconfig": "[lfs]\n\turl = https://example.com\n",
            "big.bin": pointer,
            "note.txt": "x\n",
        }
    )
    async with checkouts.workspace({"app": await mirrors.resolve(str(source.path))}) as workspace:
        worked = await agent(workspace, "cat big.bin; ls; git status --porcelain; ls .git/hooks 2>&1 || true")
    assert pointer in worked.output
    assert "pwned" not in worked.output
    assert " M" not in worked.output


async def test_names_that_differ_in_case_and_odd_ones_are_kept(
    mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any
) -> None:
    blob = bytes.fromhex(source.git("rev-parse", "HEAD:README.md"))
    entries = [b"-rf", b"A", b"a", b"a\nb", b"\xff\xfe", b"gitmodules", b"x" * 255]
    source.commit_tree(b"".join(b"100644 " + name + b"\0" + blob for name in sorted(entries)))
    async with checkouts.workspace({"app": await mirrors.resolve(str(source.path))}) as workspace:
        worked = await agent(workspace, "git status --porcelain; ls -A | wc -l; cat A a")
    assert worked.output == "9\none\none\n"


async def test_a_name_too_long_for_any_file_is_an_error(
    mirrors: Mirrors, checkouts: Checkouts, source: Any, backend: Any
) -> None:
    blob = bytes.fromhex(source.git("rev-parse", "HEAD:README.md"))
    source.commit_tree(b"100644 " + b"n" * 300 + b"\0" + blob)
    commit = await mirrors.resolve(str(source.path))
    with pytest.raises(TickoverError) as caught:
        await checkouts.get("app", commit)
    assert caught.value.code == "checkout.failed"
    assert "File name too long" in caught.value.message
    assert [path for path in checkouts.shelf.root.iterdir() if path.is_dir()] == []


async def test_submodules_are_not_fetched(mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any) -> None:
    sha = source.git("rev-parse", "HEAD")
    (source.path / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = m\n\turl = {source.path}\n')
    source.git("add", ".gitmodules")
    source.git("update-index", "--add", "--cacheinfo", f"160000,{sha},m")
    source.git("commit", "-qm", "module")
    async with checkouts.workspace({"app": await mirrors.resolve(str(source.path))}) as workspace:
        worked = await agent(workspace, "ls -A m; git status --porcelain; git submodule status")
    assert worked.output.strip() == f"-{sha} m"


async def test_sha256_repositories(
    mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any, tmp_path: Path
) -> None:
    long = type(source)(tmp_path / "long")
    long.path.mkdir()
    long.git("init", "-q", "-b", "main", "--object-format=sha256")
    sha = long.commit({"a": "1"})
    async with checkouts.workspace({"app": await mirrors.resolve(str(long.path))}) as workspace:
        worked = await agent(workspace, "git rev-parse HEAD; git status --porcelain")
    assert worked.output.strip() == sha


async def test_a_branch_with_a_hostile_name(mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any) -> None:
    name = "x;touch${IFS}pwned;$(id)'\"=.b"
    source.git("branch", name)
    async with checkouts.workspace({"app": await mirrors.resolve(str(source.path), name)}) as workspace:
        worked = await agent(workspace, "git branch --show-current; ls; git rev-parse --abbrev-ref '@{upstream}'")
    assert worked.output == f"{name}\nREADME.md\nrequirements.txt\nsrc\norigin/{name}\n"


async def test_objects_come_from_the_mirror_even_without_the_source(
    mirrors: Mirrors, checkouts: Checkouts, source: Any, agent: Any
) -> None:
    commit = await mirrors.resolve(str(source.path))
    shutil.rmtree(source.path)
    async with checkouts.workspace({"app": commit}) as workspace:
        worked = await agent(workspace, "git show HEAD:README.md; touch /repo/app.git/x 2>&1 || true")
    assert worked.output.startswith("one\n")
    assert "Read-only file system" in worked.output
    assert "x" not in os.listdir(commit.mirror)


async def test_a_slow_checkout_is_ended(mirrors: Mirrors, checkouts: Checkouts, source: Any) -> None:
    commit = await mirrors.resolve(str(source.path))
    with pytest.raises(TickoverError) as caught:
        await checkouts.get("app", commit, timeout_s=0.01)
    assert caught.value.code == "checkout.failed"


@pytest.mark.parametrize("name", ["../x", "", "A", "a/b"])
async def test_a_name_is_no_path(mirrors: Mirrors, checkouts: Checkouts, source: Any, name: str) -> None:
    commit = await mirrors.resolve(str(source.path))
    with pytest.raises(ValueError, match="not a repository's name"):
        await checkouts.get(name, commit)
