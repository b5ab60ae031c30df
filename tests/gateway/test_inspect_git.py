"""Real git through the inspector: what `push` allows goes through with the brokered credential, all else is refused."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tickover.core.egress import CredentialForm
from tickover.core.enforcement import Powers
from tickover.core.push import PushRule, RefUpdate
from tickover.core.target import Target
from tickover.gateway import pack
from tickover.testing.git_server import CLEAN, answer_of, git
from tickover.testing.inspected import DOUBLE, HOST, Site, egress_to, inspected
from tickover.testing.upstream import Handler, Seen, Talk, Upstream, upstream

TOKEN = b"ghp_0123456789abcdefghij"
BACKEND = Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())

pytestmark = pytest.mark.skipif(not (BACKEND / "git-http-backend").exists(), reason="git has no http-backend here")


def serving(root: Path) -> Handler:
    """Make a handler that is git's own server side, for everybody."""

    async def handler(seen: Seen, talk: Talk) -> None:
        status, headers, body = await asyncio.to_thread(answer_of, root, seen, user="a")
        await talk.answer(body, status=status, headers=headers)

    return handler


@dataclass
class Place:
    """A repository at an upstream, and a clone inside that knows it as `origin`."""

    site: Site
    double: Upstream
    bare: Path
    inside: Path
    environment: dict[str, str]

    async def git(self, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            "git", *arguments, cwd=self.inside, env=self.environment, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    async def push(self, *refs: str) -> tuple[int, str]:
        return await self.git("push", "origin", *refs)

    async def commit(self, text: str) -> str:
        (self.inside / "file").write_text(text)
        git(self.inside, "add", "file")
        git(self.inside, "commit", "-qm", text)
        return git(self.inside, "rev-parse", "HEAD")

    def ref(self, name: str) -> str:
        return git(self.bare, "for-each-ref", "--format=%(objectname)", f"refs/heads/{name}")


@asynccontextmanager
async def place(tmp_path: Path, *, force: bool = False, refs: Sequence[str] = ("tickover/*",)) -> AsyncIterator[Place]:
    bare, first = tmp_path / "root" / "acme" / "app.git", tmp_path / "first"
    bare.mkdir(parents=True)
    first.mkdir()
    git(bare, "init", "-q", "--bare", "-b", "main")
    git(bare, "config", "http.receivepack", "true")
    git(first, "init", "-q", "-b", "main")
    (first / "file").write_text("0")
    git(first, "add", "file")
    git(first, "commit", "-qm", "0")
    git(first, "push", "-q", str(bare), "main", "main:tickover/old")
    async with upstream(HOST, serving(tmp_path / "root"), authority=DOUBLE) as double:
        remote = Target.parse(f"POST https://{HOST}:{double.port}/acme/app.git")
        powers = Powers(pushes=(PushRule("may[0]", remote, tuple(refs), force=force, credential="git"),))
        egress = egress_to(HOST, double.port, powers=powers, credentials={"git": CredentialForm("git")})
        async with inspected(egress, double.port, values={"git": TOKEN}) as site:
            (tmp_path / "ca.pem").write_bytes(site.authority.pem)
            environment = {
                **CLEAN, "GIT_SSL_CAINFO": str(tmp_path / "ca.pem"), "https_proxy": f"http://127.0.0.1:{site.proxy}"
            }  # fmt: skip
            found = Place(site, double, bare, tmp_path, environment)
            code, said = await found.git("clone", "-q", f"{site.url}/acme/app.git", "inside")
            assert code == 0, said
            found.inside = tmp_path / "inside"
            yield found


async def test_clone_and_push_of_a_new_branch(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        commit = await there.commit("1")
        code, said = await there.push("HEAD:refs/heads/tickover/new")
        assert code == 0, said
        assert there.ref("tickover/new") == commit
        await there.site.ledger.ended(4)
        receipts = [each for each in there.site.ledger.receipts if each.begun.writes]
    assert {each.header("authorization") for each in there.double.seen} == {
        "Basic eC1hY2Nlc3MtdG9rZW46Z2hwXzAxMjM0NTY3ODlhYmNkZWZnaGlq"
    }
    assert receipts[-1].begun.refs == (f"refs/heads/tickover/new {'0' * 40} {commit}",)
    assert receipts[-1].begun.rule == "may[0]"
    assert receipts[-1].begun.credential == "git"


@pytest.mark.parametrize(
    ("ref", "code"),
    [("HEAD:main", "ref_not_allowed"), ("HEAD:refs/tags/v1", "ref_not_allowed"), (":tickover/old", "ref_delete")],
)
async def test_what_push_does_not_name_is_refused(tmp_path: Path, ref: str, code: str) -> None:
    async with place(tmp_path) as there:
        await there.commit("1")
        before = git(there.bare, "show-ref")
        result, said = await there.push(ref)
        assert result != 0
        assert "403" in said
        assert git(there.bare, "show-ref") == before
    assert set(there.site.codes()) == {code}


async def test_one_ref_of_two_that_is_not_allowed_refuses_both(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        await there.commit("1")
        result, _ = await there.push("HEAD:tickover/new", "HEAD:main")
        assert result != 0
        assert there.ref("tickover/new") == ""


async def test_a_branch_grows_without_force_and_is_overwritten_only_with_it(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        for text in ("1", "2", "3"):
            commit = await there.commit(text)
        code, said = await there.push("HEAD:tickover/old")
        assert code == 0, said
        assert there.ref("tickover/old") == commit
        git(there.inside, "reset", "-q", "--hard", "HEAD~2")
        await there.commit("another")
        code, _ = await there.push("+HEAD:tickover/old")
        assert code != 0
        assert there.ref("tickover/old") == commit
    assert there.site.codes() == ["ref_force"]


async def test_force_where_may_says_so(tmp_path: Path) -> None:
    async with place(tmp_path, force=True) as there:
        await there.commit("1")
        await there.push("HEAD:tickover/old")
        git(there.inside, "commit", "-q", "--amend", "-m", "other")
        commit = git(there.inside, "rev-parse", "HEAD")
        code, said = await there.push("+HEAD:tickover/old")
        assert code == 0, said
        assert there.ref("tickover/old") == commit


async def test_another_repository_is_neither_read_nor_written(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        git(there.bare.parent, "clone", "-q", "--bare", str(there.bare), "other.git")
        code, said = await there.git("clone", "-q", f"{there.site.url}/acme/other.git", "other")
        assert code != 0
        assert "403" in said


def packed(folder: Path, *revisions: str) -> bytes:
    names = "\n".join(revisions) + "\n"
    return subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "-q", "--thin"],
        cwd=folder, env=CLEAN, input=names.encode(), capture_output=True, check=True,
    ).stdout  # fmt: skip


def test_a_pack_proves_a_fast_forward_and_nothing_else(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    commits = []
    for text in ("a", "b", "c"):
        (tmp_path / text).write_text(text * 5000)
        git(tmp_path, "add", text)
        git(tmp_path, "commit", "-qm", text)
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    one, two, three = commits
    update = RefUpdate("refs/heads/x", one, three)
    whole = packed(tmp_path, three, f"^{one}")
    assert pack.told([update], whole)[0].fast_forward
    assert pack.told([RefUpdate("refs/heads/x", two, one)], whole)[0].fast_forward is None
    assert pack.told([RefUpdate("refs/heads/x", "9" * 40, three)], whole)[0].fast_forward is None
    assert pack.told([update], packed(tmp_path, three, f"^{two}"))[0].fast_forward is None
    for broken in (
        b"",
        whole[:40],
        whole[:-30],
        b"PACK" + bytes(8),
        b"PACK\0\0\0\2\0\0\0\1" + b"\xff" * 5_000_000,
        whole.replace(b"PACK", b"KCAP"),
    ):
        assert pack.told([update], broken)[0].fast_forward is None
