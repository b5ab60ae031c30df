"""The gateway's process, for real: what passes, what is written down before it passes, and how it ends."""

from __future__ import annotations

import asyncio
import os
import resource
import select
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tickover.core.egress import Egress
from tickover.core.enforcement import Powers, Rule
from tickover.core.errors import TickoverError
from tickover.core.network import Asked, InstanceNetwork, policy_of
from tickover.core.receipt import Delivery, Head, Identity
from tickover.core.target import Target
from tickover.gateway.certificates import RunAuthority
from tickover.gateway.client import ClientSession, GatewayClient
from tickover.gateway.fence import boot_time
from tickover.gateway.loop import NAMES
from tickover.gateway.secrets import seal
from tickover.gateway.session import GatewayGone, Passport, Sealed
from tickover.gateway.values import key_of_instance
from tickover.testing.sandbox import until
from tickover.testing.upstream import Handler, Seen, Talk, Upstream, say_ok, upstream
from tickover.testing.witness import KeptWitness

HOST = "localhost"
LONG = 600.0


@dataclass
class Desk:
    """A gateway with one upstream behind it, and the listeners of imagined sandboxes."""

    gateway: GatewayClient
    double: Upstream
    listeners: list[socket.socket] = field(default_factory=list)

    def egress(self, *, writes: bool = False) -> Egress:
        entry = f"{HOST}:{self.double.port}"
        policy = policy_of([Asked(entry, "test", inspect=writes)], {}, InstanceNetwork(private=(entry,)))
        target = Target.parse(f"POST https://{entry}/post")
        return Egress(policy, Powers((Rule("may[0]", target, most=3),)) if writes else Powers())

    async def open(
        self,
        witness: KeptWitness,
        *,
        run: str = "run-1",
        writes: bool = False,
        seconds: float = LONG,
        head: Head | None = None,
        sealed: Mapping[str, Sealed] | None = None,
    ) -> tuple[ClientSession, int]:
        """Open a session, and return it with the port of its proxy."""
        assert self.double.authority is not None
        passport = Passport(
            run, 1, Identity.AGENT, self.egress(writes=writes), boot_time() + seconds, head=head,
            roots=self.double.authority.pem, sealed=sealed or {},
        )  # fmt: skip
        session = await self.gateway.open(passport, witness)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        port: int = listening[1].getsockname()[1]
        await session.listen([udp, *listening])
        return session, port

    async def ask(
        self,
        session: ClientSession,
        port: int,
        method: str = "GET",
        path: str = "/",
        *,
        host: str = "",
        whole: bool = False,
    ) -> str:
        """Ask the upstream through a session's proxy; return the status line, or how it ended; or all that it says."""
        assert self.double.authority is not None
        context = ssl.create_default_context(cadata=(session.authority + self.double.authority.pem).decode())
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            there = f"{host or HOST}:{self.double.port}"
            writer.write(f"CONNECT {there} HTTP/1.1\r\nhost: {there}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                writer.close()
                return head.decode().split("\r\n")[0]
            await writer.start_tls(context, server_hostname=HOST)
            body = "content-length: 2\r\ncontent-type: text/plain\r\n" if method == "POST" else ""
            writer.write(
                f"{method} {path} HTTP/1.1\r\nhost: {HOST}:{self.double.port}\r\nconnection: close\r\n{body}\r\n".encode()
            )
            writer.write(b"hi" if body else b"")
            line = (await (reader.read() if whole else reader.readuntil(b"\r\n"))).decode().strip()
            writer.close()
            return line
        except (OSError, asyncio.IncompleteReadError) as error:
            return type(error).__name__


@asynccontextmanager
async def desk(tmp_path: Path, handler: Handler = say_ok, *, loop: str = "") -> AsyncIterator[Desk]:
    gateway = GatewayClient(str(tmp_path / "key"), loop=loop)
    try:
        async with upstream(HOST, handler, authority=RunAuthority("double", now=datetime.now(UTC))) as double:
            yield Desk(gateway, double)
    finally:
        await gateway.close()


@pytest.mark.parametrize("loop", NAMES)
async def test_what_is_listed_passes_and_what_is_not_is_told(tmp_path: Path, loop: str) -> None:
    async with desk(tmp_path, loop=loop) as at:
        witness = KeptWitness()
        session, port = await at.open(witness)
        assert await at.ask(session, port) == "HTTP/1.1 200 OK"
        assert "403" in await at.ask(session, port, host="evil.test")
        await session.close()
        assert [(each.host, each.code) for each in witness.denials] == [("evil.test", "not_listed")]
        assert witness.links == []
        assert await at.ask(session, port) == "ConnectionRefusedError"
        assert not session.gone.is_set()


async def test_a_write_leaves_after_its_receipt_is_durable_and_not_before(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        witness = KeptWitness()
        witness.writable.clear()
        session, port = await at.open(witness, writes=True)
        asking = asyncio.create_task(at.ask(session, port, "POST", "/post"))
        await asyncio.wait_for(witness.heard.wait(), 60)
        await asyncio.wait([asking], timeout=0.3)
        assert at.double.seen == []
        witness.writable.set()
        assert await asking == "HTTP/1.1 200 OK"
        await session.close()
        [receipt] = witness.receipts()
        assert receipt.begun.writes
        assert receipt.ended is not None
        assert (receipt.ended.status, receipt.ended.delivery) == (200, Delivery.ANSWERED)
        assert witness.heads[-1] == Head(witness.links[-1].seq, witness.links[-1].mac)
        # Only the gateway can tell that the chain holds, and it does.
        assert await at.gateway.verify("run-1", witness.links, witness.heads[-1]) is None
        cut = await at.gateway.verify("run-1", witness.links[:-1], witness.heads[-1])
        assert cut is not None
        assert cut.code == "cut"
        other = await at.gateway.verify("run-2", witness.links, witness.heads[-1])
        assert other is not None


async def test_a_write_without_a_journal_does_not_leave(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        witness = KeptWitness(fails=TickoverError("store.stale_fence", "somebody else has the run"))
        session, port = await at.open(witness, writes=True)
        assert await at.ask(session, port, "POST", "/post") != "HTTP/1.1 200 OK"
        await asyncio.wait_for(session.gone.wait(), 60)
        assert "written down" in session.why
        assert await at.ask(session, port) != "HTTP/1.1 200 OK"
        assert at.double.seen == []
        await asyncio.wait_for(session.close(), 60)
        assert witness.links == []


TOKEN = "tok-0123456789abcdefghij"


@pytest.mark.parametrize("holder", ["run-1", "run-2", None])
async def test_a_token_that_another_session_holds_is_not_read_from_a_server_that_says_it(
    tmp_path: Path, holder: str | None
) -> None:
    async def tell(seen: Seen, talk: Talk) -> None:
        await talk.answer(TOKEN.encode())

    async with desk(tmp_path, tell) as at:
        key = key_of_instance(str(tmp_path / "key"))
        sealed = {"git": Sealed("git", seal(key, name="git", kind="git", value=TOKEN.encode()))}
        other = None
        if holder:
            other, _ = await at.open(KeptWitness(), run=holder, sealed=sealed)
        agent, port = await at.open(KeptWitness(), writes=True)
        assert (TOKEN in await at.ask(agent, port, whole=True)) == (holder is None)
        if other is not None:
            await other.close()
            assert TOKEN in await at.ask(agent, port, whole=True), "nobody holds it any more"
        await agent.close()


async def test_two_sandboxes_of_a_run_share_one_chain(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        witness = KeptWitness()
        one, first = await at.open(witness, writes=True)
        two, second = await at.open(witness, writes=True)
        for session, port in ((one, first), (two, second), (one, first)):
            assert await at.ask(session, port, "POST", "/post") == "HTTP/1.1 200 OK"
        assert "403" in await at.ask(two, second, "POST", "/post")  # `max` is the run's
        await one.close()
        await two.close()
        assert [receipt.begun.call for receipt in witness.receipts()] == [1, 2, 3]
        assert await at.gateway.verify("run-1", witness.links, witness.heads[-1]) is None
        assert [each.code for each in witness.denials] == ["max"]


async def test_a_chain_goes_on_where_the_journal_has_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        witness = KeptWitness()
        for _ in range(2):
            head = Head(witness.links[-1].seq, witness.links[-1].mac) if witness.links else None
            session, port = await at.open(witness, writes=True, head=head)
            assert await at.ask(session, port, "POST", "/post") == "HTTP/1.1 200 OK"
            await session.close()
        assert await at.gateway.verify("run-1", witness.links, witness.heads[-1]) is None


async def test_nothing_passes_after_the_lease(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        session, port = await at.open(KeptWitness())
        assert await at.ask(session, port) == "HTTP/1.1 200 OK"
        session.renew(boot_time() + 2.0)
        while await at.ask(session, port) == "HTTP/1.1 200 OK":
            pass
        seen = len(at.double.seen)
        await asyncio.wait_for(session.gone.wait(), 60)
        assert "lease" in session.why
        session.renew(boot_time() + LONG)  # too late is too late
        assert await at.ask(session, port) != "HTTP/1.1 200 OK"
        assert len(at.double.seen) == seen
        await session.close()


async def test_a_renewed_lease_goes_on(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        session, port = await at.open(KeptWitness(), seconds=60.0)
        session.renew(boot_time() + LONG)
        await asyncio.wait({asyncio.create_task(session.gone.wait())}, timeout=0.1)
        assert await at.ask(session, port) == "HTTP/1.1 200 OK"
        await session.close()


@pytest.mark.parametrize("loop", NAMES)
async def test_a_gateway_that_was_stopped_past_the_lease_lets_nothing_out_when_it_goes_on(
    tmp_path: Path, loop: str
) -> None:
    async with desk(tmp_path, loop=loop) as at:
        session, port = await at.open(KeptWitness())
        assert await at.ask(session, port) == "HTTP/1.1 200 OK"
        pid = at.gateway.pid
        assert pid is not None
        ended = boot_time() + 3.0
        session.renew(ended)
        await at.gateway.verify("run-1", [], Head(1, ""))  # answered after the new deadline was taken
        os.kill(pid, signal.SIGSTOP)
        asking = [asyncio.create_task(at.ask(session, port)) for _ in range(5)]
        await until(lambda: boot_time() > ended, lambda: "time stands still", seconds=60)
        os.kill(pid, signal.SIGCONT)
        assert "HTTP/1.1 200 OK" not in await asyncio.wait_for(asyncio.gather(*asking), 60)
        assert len(at.double.seen) == 1, "what was sent before the stop"
        await session.close()


async def test_killed_in_the_middle_of_a_write_it_leaves_a_receipt_that_says_unknown(tmp_path: Path) -> None:
    answered = asyncio.Event()

    async def never(_seen: Seen, _talk: Talk) -> None:
        await answered.wait()

    async with desk(tmp_path, never) as at:
        witness = KeptWitness()
        session, port = await at.open(witness, writes=True)
        asking = asyncio.create_task(at.ask(session, port, "POST", "/post"))
        await until(lambda: at.double.seen, lambda: "nothing left", seconds=60)
        pid = at.gateway.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(session.gone.wait(), 60)
        assert await asyncio.wait_for(asking, 60) != "HTTP/1.1 200 OK"
        await session.close()
        [receipt] = witness.receipts()
        assert receipt.unknown
        with pytest.raises(GatewayGone):
            await session.listen([])
        answered.set()
        # A new process takes up the chain, and nothing of it is repeated.
        again, port = await at.open(witness, writes=True, head=Head(witness.links[-1].seq, witness.links[-1].mac))
        assert at.gateway.pid not in {None, pid}
        await again.close()
        assert len(at.double.seen) == 1


async def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    (tmp_path / "key").chmod(0o644)
    async with desk(tmp_path) as at:
        with pytest.raises(TickoverError) as refused:
            await at.open(KeptWitness())
        assert refused.value.code == "secrets.key_exposed"


async def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    parent = """
import asyncio, sys
from tickover.gateway.client import GatewayClient
async def main():
    gateway = GatewayClient(sys.argv[1])
    await gateway.verify("run", [], (0, ""))
    print(gateway.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
    command = [sys.executable, "-c", parent, str(tmp_path / "key")]
    process = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(await asyncio.to_thread(process.stdout.readline))
    gateway = os.pidfd_open(pid)
    os.kill(pid, signal.SIGSTOP)  # it cannot look: the kernel ends it all the same
    process.kill()
    await asyncio.to_thread(process.wait)
    process.stdout.close()
    assert (await asyncio.to_thread(select.select, [gateway], [], [], 60))[0] == [gateway]
    os.close(gateway)


async def test_nobody_looks_into_its_memory_or_environment(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        session, _ = await at.open(KeptWitness())
        pid = at.gateway.pid
        assert pid is not None
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        if os.geteuid() != 0:
            with pytest.raises(PermissionError):
                os.readlink(f"/proc/{pid}/exe")
        await session.close()


async def test_it_leaves_no_core_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    home = tmp_path / "home"
    home.mkdir()
    async with desk(home) as at:
        monkeypatch.chdir(tmp_path)
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))  # what the process gets from us
        try:
            witness = KeptWitness()
            session, _ = await at.open(witness)
            pid = at.gateway.pid
            assert pid is not None
            os.kill(pid, signal.SIGABRT)
            await asyncio.wait_for(session.gone.wait(), 60)
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        await session.close()
    assert os.listdir(tmp_path) == ["home"]
    pattern = core_pattern()
    if hard and "/" not in pattern and "|" not in pattern:  # the twin shows that one would be found here
        twin = "import os; from resource import *; setrlimit(RLIMIT_CORE, (getrlimit(RLIMIT_CORE)[1],) * 2); os.abort()"
        subprocess.run([sys.executable, "-c", twin], check=False, stderr=subprocess.DEVNULL)  # noqa: ASYNC221
        assert len(os.listdir(tmp_path)) == 2


def core_pattern() -> str:
    return Path("/proc/sys/kernel/core_pattern").read_text().strip()


def key_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        first, _ = await at.open(KeptWitness())
        key = (tmp_path / "key").read_bytes()
        await first.close()
    async with desk(tmp_path) as at:
        second, _ = await at.open(KeptWitness())
        await second.close()
    assert (tmp_path / "key").read_bytes() == key
    assert key_mode(tmp_path / "key") == 0o600
