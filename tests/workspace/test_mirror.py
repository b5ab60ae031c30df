from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tickover.core.errors import TickoverError
from tickover.workspace.mirror import Mirrors

STRANGER = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to somebody else")


async def refused(mirrors: Mirrors, url: str, ref: str | None = None, **options: Any) -> TickoverError:
    with pytest.raises(TickoverError) as caught:
        await mirrors.resolve(url, ref, **options)
    return caught.value


async def test_the_default_branch_a_branch_a_tag_and_a_commit(mirrors: Mirrors, source: Any) -> None:
    first = source.git("rev-parse", "HEAD")
    source.git("tag", "-a", "v1", "-m", "one")
    source.git("branch", "side/line")
    second = source.commit({"a": "2"})
    url = str(source.path)
    default = await mirrors.resolve(url)
    assert (default.sha, default.branch, default.default_branch) == (second, "main", "main")
    side = await mirrors.resolve(url, "side/line")
    assert (side.sha, side.branch) == (first, "side/line")
    for name in ("v1", "refs/tags/v1", first, first[:9]):
        found = await mirrors.resolve(url, name)
        assert (found.sha, found.branch) == (first, None)
    assert (await mirrors.resolve(f"file://{url}")).sha == second


async def test_several_refs_are_of_one_moment(mirrors: Mirrors, source: Any) -> None:
    source.git("branch", "trusted")
    source.commit({"a": "2"})
    subject, trusted = await mirrors.resolve_all(str(source.path), ["main", "trusted"])
    assert subject.refs == trusted.refs
    assert subject.sha != trusted.sha


async def test_a_new_commit_is_seen_and_a_deleted_branch_is_gone(mirrors: Mirrors, source: Any) -> None:
    url = str(source.path)
    source.git("branch", "gone")
    before = await mirrors.resolve(url, "gone")
    source.git("branch", "-D", "gone")
    source.git("branch", "gone/deeper")
    moved = source.commit({"a": "2"})
    assert (await mirrors.resolve(url)).sha == moved
    assert (await refused(mirrors, url, "gone")).code == "repository.no_ref"
    assert (await mirrors.resolve(url, "gone/deeper")).refs != before.refs


async def test_a_known_commit_outlives_its_repository(mirrors: Mirrors, source: Any) -> None:
    url = str(source.path)
    commit = await mirrors.resolve(url)
    shutil.rmtree(source.path)
    again = await mirrors.resolve(url, commit.sha)
    assert (again.sha, again.refs) == (commit.sha, commit.refs)
    gone = await refused(mirrors, url)
    assert gone.code == "repository.unreachable"


async def test_a_known_commit_needs_no_git(mirrors: Mirrors, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = await mirrors.resolve(str(source.path))
    monkeypatch.setattr(mirrors.git, "program", "/nonexistent/git")
    assert (await mirrors.resolve(str(source.path), commit.sha)).sha == commit.sha


async def test_a_commit_on_no_branch_is_fetched_by_name(mirrors: Mirrors, source: Any) -> None:
    loose = source.commit({"a": "2"})
    source.git("update-ref", "refs/pull/7/head", loose)
    source.git("reset", "-q", "--hard", "HEAD~1")
    assert (await mirrors.resolve(str(source.path), "refs/pull/7/head")).sha == loose
    assert (await mirrors.resolve(str(source.path), loose)).sha == loose


async def test_names_with_line_separators_and_a_branch_named_head(mirrors: Mirrors, source: Any) -> None:
    for name in ("a\u2028b", "a\x85b", "HEAD", "refs/heads/HEAD"):
        source.git("update-ref", f"refs/heads/{name}", "HEAD")
    moved = source.commit({"a": "2"})
    assert (await mirrors.resolve(str(source.path))).sha == moved
    assert (await mirrors.resolve(str(source.path), "a\u2028b")).branch == "a\u2028b"


async def test_a_detached_head_is_the_default(mirrors: Mirrors, source: Any) -> None:
    source.git("checkout", "-q", "--detach")
    loose = source.commit({"a": "2"})
    commit = await mirrors.resolve(str(source.path))
    assert (commit.sha, commit.branch, commit.default_branch) == (loose, None, None)


async def test_a_wrong_name_gets_the_near_ones(mirrors: Mirrors, source: Any) -> None:
    source.git("branch", "release-2026")
    error = await refused(mirrors, str(source.path), "release-2025")
    assert error.code == "repository.no_ref"
    assert "release-2026" in error.hint


@pytest.mark.parametrize(
    "ref", ["--upload-pack=x", "-x", "a b", "main~1", "a..b", "@{0}", ":/x", "", "@", "a.lock", "x\n"]
)
async def test_what_is_no_ref_is_refused_before_git_sees_it(mirrors: Mirrors, source: Any, ref: str) -> None:
    assert (await refused(mirrors, str(source.path), ref)).code == "repository.bad_ref"
    assert not mirrors.path(str(source.path)).exists()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x", "ssh://example.com/x", "git@example.com:x", "ext::sh -c id", "relative/path", "",
        "https://user:secret@example.com/x", "https:///x", "file://elsewhere.test/x", "https://-x.test/x", "/a\nb",
        "https://[x/y",
    ],
)  # fmt: skip
async def test_what_is_no_address_is_refused(mirrors: Mirrors, url: str) -> None:
    assert (await refused(mirrors, url)).code == "repository.bad_url"


async def test_an_empty_repository(mirrors: Mirrors, tmp_path: Path, source: Any) -> None:
    source.git("init", "-q", str(tmp_path / "new"))
    assert (await refused(mirrors, str(tmp_path / "new"))).code == "repository.empty"
    assert list(mirrors.root.glob("*.git")) == []


async def test_a_folder_without_a_repository(mirrors: Mirrors, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    error = await refused(mirrors, str(tmp_path / "archive"))
    assert error.code == "repository.not_git"
    assert "archive" in error.hint


async def test_nothing_and_a_file_are_no_repository(mirrors: Mirrors, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nothing", "file"):
        assert (await refused(mirrors, str(tmp_path / name))).code == "repository.unreachable"


async def test_a_host_that_does_not_answer(mirrors: Mirrors) -> None:
    assert (await refused(mirrors, "https://127.0.0.1:1/x")).code == "repository.unreachable"


async def test_a_damaged_repository_and_its_repair(mirrors: Mirrors, source: Any) -> None:
    blob = source.git("rev-parse", "HEAD:README.md")
    path = source.path / ".git/objects" / blob[:2] / blob[2:]
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[: len(whole) // 2])
    assert (await refused(mirrors, str(source.path))).code == "repository.corrupt"
    path.write_bytes(whole)
    assert (await mirrors.resolve(str(source.path))).branch == "main"


@pytest.mark.parametrize("name", [b".git", b"..", b".GIT", b"git~1", b".gi\xe2\x80\x8ct", b"a/b"])
async def test_a_tree_that_leads_elsewhere_is_refused(mirrors: Mirrors, source: Any, name: bytes) -> None:
    blob = bytes.fromhex(source.git("rev-parse", "HEAD:README.md"))
    tree = source.git("hash-object", "-t", "tree", "--literally", "-w", "--stdin", stdin=b"100644 config\0" + blob)
    source.commit_tree(b"40000 " + name + b"\0" + bytes.fromhex(tree))
    error = await refused(mirrors, str(source.path))
    assert error.code == "repository.unsafe"


async def test_a_submodule_that_is_an_option_is_refused(mirrors: Mirrors, source: Any) -> None:
    source.commit({".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=touch /tmp/pwned\n'})
    assert (await refused(mirrors, str(source.path))).code == "repository.unsafe"


async def test_history_of_old_tools_is_taken(mirrors: Mirrors, source: Any) -> None:
    tree = source.git("rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor Ada <ada@example.com> 1 +051800\ncommitter <x> 1 -7\n\nold\n"
    old = source.git("hash-object", "-t", "commit", "--literally", "-w", "--stdin", stdin=text.encode())
    source.git("update-ref", "refs/heads/main", old)
    assert (await mirrors.resolve(str(source.path))).sha == old


async def test_a_shallow_source_and_its_deepening(mirrors: Mirrors, source: Any, tmp_path: Path) -> None:
    source.commit({"a": "2"})
    source.commit({"a": "3"})
    shallow = tmp_path / "shallow"
    source.git("clone", "-q", "--depth=1", f"file://{source.path}", str(shallow))
    commit = await mirrors.resolve(str(shallow))
    assert await _count(mirrors, commit.mirror, commit.sha) == 1
    source.git("fetch", "-q", "--unshallow", folder=shallow)
    commit = await mirrors.resolve(str(shallow), "main")
    assert await _count(mirrors, commit.mirror, commit.sha) == 3


async def _count(mirrors: Mirrors, mirror: Path, sha: str) -> int:
    return int((await mirrors.git.run(f"--git-dir={mirror}", "rev-list", "--count", sha)).out)


async def test_a_path_with_spaces_and_other_letters(mirrors: Mirrors, source: Any, tmp_path: Path) -> None:
    odd = tmp_path / "mit Leerzeichen 'und' ünïcode $(id)"
    source.path.rename(odd)
    assert (await mirrors.resolve(str(odd))).branch == "main"
    assert (await mirrors.resolve(odd.as_uri())).branch == "main"


async def test_every_file_of_a_mirror_is_readable_whatever_the_umask(mirrors: Mirrors, source: Any) -> None:
    before = os.umask(0o077)
    try:
        commit = await mirrors.resolve(str(source.path))
    finally:
        os.umask(before)
    for parent, folders, names in os.walk(commit.mirror):
        for name in folders:
            assert stat.S_IMODE(os.stat(os.path.join(parent, name)).st_mode) & 0o555 == 0o555, name
        for name in names:
            mode = stat.S_IMODE(os.stat(os.path.join(parent, name)).st_mode)
            if not parent.endswith("commits"):
                assert mode & 0o444 == 0o444, name


async def test_what_a_killed_fetch_left_is_no_obstacle(mirrors: Mirrors, source: Any) -> None:
    commit = await mirrors.resolve(str(source.path))
    moved = source.commit({"a": "2"})
    (commit.mirror / "tickover/fetching").touch()
    (commit.mirror / "refs/heads/main.lock").touch()
    (commit.mirror / "packed-refs.lock").touch()
    (commit.mirror / "objects/pack").mkdir(exist_ok=True)
    (commit.mirror / "objects/pack/tmp_pack_x").write_bytes(b"x")
    assert (await mirrors.resolve(str(source.path))).sha == moved
    assert not (commit.mirror / "objects/pack/tmp_pack_x").exists()


async def test_a_mirror_begun_and_never_finished_is_begun_again(mirrors: Mirrors, source: Any) -> None:
    mirrors.path(str(source.path)).mkdir()
    (mirrors.path(str(source.path)) / "HEAD").write_text("broken")
    assert (await mirrors.resolve(str(source.path))).branch == "main"


async def test_two_at_once_share_one_mirror(data: Path, source: Any) -> None:
    found = await asyncio.gather(*(Mirrors(data, environ={}).resolve(str(source.path)) for _ in range(4)))
    assert len({commit.mirror for commit in found}) == 1
    assert len({commit.sha for commit in found}) == 1


async def test_a_deadline(mirrors: Mirrors, source: Any) -> None:
    assert (await refused(mirrors, str(source.path), timeout_s=0.0001)).code == "repository.timeout"


async def test_a_pack_that_is_too_large(data: Path, source: Any) -> None:
    source.commit({"noise": os.urandom(3 << 20)})
    mirrors = Mirrors(data, environ={}, max_file=1 << 20)
    assert (await refused(mirrors, str(source.path))).code == "repository.too_large"


async def test_prune_removes_idle_mirrors_only(mirrors: Mirrors, source: Any) -> None:
    commit = await mirrors.resolve(str(source.path))
    assert mirrors.prune(3600) == []
    os.utime(commit.mirror / "tickover/now", (1, 1))
    assert mirrors.prune(3600) == [commit.mirror]
    assert (await mirrors.resolve(str(source.path))).sha == commit.sha


# -- repositories of others --------------------------------------------------------------------------------------------


def plant(source: Any, canary: Path) -> None:
    """Make every setting that names a program name one that leaves a trace."""
    hook = source.path / ".git/hook"
    hook.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{canary}'\ncat >/dev/null\n")
    hook.chmod(0o755)
    hooks = source.path / ".git/planted"
    hooks.mkdir()
    for name in ("post-checkout", "post-upload-pack", "pre-auto-gc", "reference-transaction", "post-index-change"):
        shutil.copy(hook, hooks / name)
        (source.path / ".git/hooks").mkdir(exist_ok=True)
        shutil.copy(hook, source.path / ".git/hooks" / name)
    for name, value in {
        "core.fsmonitor": str(hook),
        "core.hooksPath": str(hooks),
        "uploadpack.packObjectsHook": str(hook),
        "core.alternateRefsCommand": str(hook),
        "core.sshCommand": str(hook),
        "core.pager": str(hook),
        "core.editor": str(hook),
        "core.gitProxy": str(hook),
        "filter.evil.smudge": str(hook),
        "filter.evil.clean": str(hook),
        "diff.external": str(hook),
        "credential.helper": f"!{hook}",
        "alias.upload-pack": f"!{hook}",
        "remote.origin.uploadpack": str(hook),
    }.items():
        source.git("config", name, value)
    (source.path / ".git/info").mkdir(exist_ok=True)
    (source.path / ".git/info/attributes").write_text("* filter=evil diff=evil merge=evil\n")


async def test_a_hostile_configuration_runs_nothing_on_the_host(mirrors: Mirrors, source: Any, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    source.commit({".gitattributes": "* filter=evil\n"})
    plant(source, canary)
    await mirrors.resolve(str(source.path))
    assert not canary.exists()
    source.git("-c", "core.hooksPath=/dev/null", "update-ref", "refs/heads/more", "HEAD")
    await mirrors.resolve(str(source.path), "more")
    assert not canary.exists()
    source.git("status")
    assert canary.exists(), "the plant is dead, so the test proves nothing"


@as_root
async def test_a_repository_of_another_user(mirrors: Mirrors, source: Any) -> None:
    give_away(source.path)
    assert (await mirrors.resolve(str(source.path))).branch == "main"


@as_root
async def test_a_private_repository_of_another_user(mirrors: Mirrors, source: Any) -> None:
    give_away(source.path)
    (source.path / ".git").chmod(0o700)
    assert (await mirrors.resolve(str(source.path))).branch == "main"


@as_root
async def test_another_users_repository_reads_only_what_that_user_may(
    mirrors: Mirrors, source: Any, tmp_path: Path
) -> None:
    secret = type(source)(tmp_path / "secret")
    secret.path.mkdir()
    secret.git("init", "-q", "-b", "main")
    treasure = secret.commit({"key": "treasure"})
    secret.path.chmod(0o700)
    (source.path / ".git/objects/info").mkdir(exist_ok=True)
    (source.path / ".git/objects/info/alternates").write_text(f"{secret.path}/.git/objects\n")
    (source.path / ".git/refs/heads/stolen").write_text(f"{treasure}\n")
    assert source.git("cat-file", "-t", "stolen") == "commit", "as root the alternate leads there"
    give_away(source.path)
    error = await refused(mirrors, str(source.path), "stolen")
    assert error.code in {"repository.corrupt", "repository.no_ref", "repository.unreachable"}
    for mirror in mirrors.root.glob("*.git"):
        said = await mirrors.git.run(f"--git-dir={mirror}", "cat-file", "-t", treasure)
        assert said.code != 0


@as_root
async def test_the_other_end_runs_as_the_owner_even_of_one_part(
    mirrors: Mirrors, source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(source.path / ".git/config", STRANGER, STRANGER)
    wrapped: list[tuple[int, int] | None] = []
    honest: Callable[..., list[str]] = mirrors.git.upload_pack

    def record(owner: tuple[int, int] | None) -> list[str]:
        wrapped.append(owner)
        return honest(owner)

    monkeypatch.setattr(mirrors.git, "upload_pack", record)
    open_up(source.path)
    await mirrors.resolve(str(source.path))
    assert wrapped == [(STRANGER, STRANGER)]


@as_root
def test_an_ordinary_user_takes_a_repository_of_root(source: Any) -> None:
    """The recipe of safe.directory in a file: git drops every other way of saying it on the way to upload-pack."""
    open_up(source.path)
    scratch = Path(tempfile.mkdtemp())
    try:
        os.chown(scratch, STRANGER, STRANGER)
        mirrors = Mirrors(scratch, environ={})
        subprocess.run(["chown", "-R", f"{STRANGER}:{STRANGER}", scratch], check=True)
        environment = mirrors.git.environment(https=False)
        command = ["git", "ls-remote", str(source.path)]
        said = subprocess.run(
            command, env=environment, user=STRANGER, group=STRANGER, extra_groups=[], capture_output=True, check=False
        )
        assert said.returncode == 0, said.stderr
        bare = environment | {"GIT_CONFIG_GLOBAL": "/dev/null"}
        said = subprocess.run(
            command, env=bare, user=STRANGER, group=STRANGER, extra_groups=[], capture_output=True, check=False
        )
        assert b"dubious ownership" in said.stderr
    finally:
        shutil.rmtree(scratch)


def give_away(path: Path) -> None:
    open_up(path)
    subprocess.run(["chown", "-R", f"{STRANGER}:{STRANGER}", str(path)], check=True)


def open_up(path: Path) -> None:
    """Let others reach it: pytest's folders are private."""
    for parent in path.parents:
        if re.match(r"(/var)?/tmp/.", str(parent)):
            parent.chmod(parent.stat().st_mode | 0o011)
