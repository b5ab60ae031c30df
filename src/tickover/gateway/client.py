"""The gateway as its client has it: the process is started by the first session, and again after it has died.

One that dies soon after its start is started again ever later (`core/pauses.py`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any, Final

from pydantic import JsonValue

from tickover.core.errors import TickoverError
from tickover.core.pauses import Pauses
from tickover.core.receipt import Broken, Head, Link
from tickover.core.sql import SqlQuestion
from tickover.gateway.channel import Channel, ChannelClosedError, Message
from tickover.gateway.letters import write_egress
from tickover.gateway.session import (
    Bell,
    Called,
    Denied,
    Door,
    Drifted,
    GatewayGone,
    Passport,
    Reached,
    Sealed,
    Use,
    Vault,
    Witness,
)

_START_SECONDS: Final = 120.0
_KEPT_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "TZ")
"""What the gateway's process may know of our environment: whom this machine trusts."""
_FILES: Final = ("tape", "cassette")
"""What of a passport is a descriptor."""
_BATCH: Final = 64  # receipts that become durable together
ENDED: Final = "the gateway's process ended"


class GatewayClient:
    """All sessions of this process. `key_file` is the instance's; only the gateway's process opens it.

    `report` is told of each life that ended by itself. `loop` names the event loop that the process is to turn
    (gateway/loop.py), for who must have that one.
    """

    def __init__(
        self,
        key_file: str,
        vault: Vault | None = None,
        *,
        loop: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.report: Callable[[BaseException], None] = lambda _error: None
        self._key_file = key_file
        self._vault = vault
        self._loop = loop
        self._clock = clock
        self._pauses = Pauses()
        self._began: float | None = None
        self._over = asyncio.Event()
        self._process: GatewayProcess | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        self._names = count(1)

    async def ready(self) -> None:
        """Start the process unless it runs (see the port)."""
        await self._running()

    async def open(self, passport: Passport, witness: Witness) -> ClientSession:
        """Begin a session (see the port)."""
        process = await self._running()
        name = f"{passport.run}/{next(self._names)}"
        session = ClientSession(process, name, passport, witness)
        await session.begin()
        return session

    async def verify(self, run: str, links: Sequence[Link], sealed: Head, *, unfinished: bool = False) -> Broken | None:
        """Say whether a chain holds (see the port)."""
        process = await self._running()
        written = [link.model_dump(mode="json") for link in links]
        answer = await process.ask("verify", run=run, links=written, sealed=list(sealed), unfinished=unfinished)
        return None if answer["broken"] is None else Broken(*answer["broken"])

    async def close(self) -> None:
        """End the process, and start no other. Idempotent."""
        self._over.set()
        async with self._starting:
            self._closed = True
            if self._process is not None:
                await self._process.close()

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return None if self._process is None or self._process.gone else self._process.pid

    async def _running(self) -> GatewayProcess:
        async with self._starting:
            if self._closed:
                raise GatewayGone("gateway.closed", "the gateway was closed")
            if self._process is not None and self._process.gone:
                self.report(GatewayGone("gateway.gone", f"{ENDED}; it is started again"))
                await self._process.close()
                self._process = None
            if self._process is None:
                await self._pause()
                self._process = await GatewayProcess.start(self._key_file, self._vault, self._loop)
            return self._process

    async def _pause(self) -> None:
        """Wait as long as is due after the life before this one, or until `close`."""
        if self._began is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pauses.after(self._clock() - self._began)):
                    await self._over.wait()
                raise GatewayGone("gateway.closed", "the gateway was closed")
        self._began = self._clock()


class GatewayProcess:
    """One life of the process."""

    def __init__(self, end: socket.socket, process: subprocess.Popen[bytes], vault: Vault | None) -> None:
        self.pid = process.pid
        self._vault = vault
        self._lent: dict[str, Sealed] = {}
        self._lending: set[asyncio.Task[None]] = set()
        self.gone = False
        self._process = process
        self._answers: dict[int, asyncio.Future[Message]] = {0: asyncio.get_running_loop().create_future()}
        self._numbers = count(1)
        self._sessions: dict[str, ClientSession] = {}
        self._pumps: dict[str, _Pump] = {}
        self._channel = Channel(end, self._received, self._lost)

    @classmethod
    async def start(cls, key_file: str, vault: Vault | None = None, loop: str = "") -> GatewayProcess:
        """Start it and wait until it serves. Raises GatewayGone, or what keeps it from its key."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        process = subprocess.Popen(  # noqa: ASYNC220 - it lives as long as we do
            [sys.executable, "-I", "-m", "tickover.gateway", key_file, *([loop] if loop else [])],
            stdin=theirs.fileno(), start_new_session=True, env={"PATH": "/usr/bin:/bin", **environment},
        )  # fmt: skip
        theirs.close()
        self = cls(ours, process, vault)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self.answer(0)
        except BaseException as error:
            await self.close()
            if isinstance(error, TimeoutError):
                raise GatewayGone("gateway.silent", "the gateway's process does not answer") from error
            raise
        return self

    async def ask(self, do: str, descriptors: Sequence[int] = (), **parts: Any) -> dict[str, Any]:
        """Send a request and return its answer. Raises GatewayGone, or the error that it was answered with."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._channel.send({"id": number, "do": do, **parts}, descriptors)
        except ChannelClosedError:
            self._answers.pop(number, None)
            raise GatewayGone("gateway.gone", ENDED) from None
        return await self.answer(number)

    async def answer(self, number: int) -> dict[str, Any]:
        """Wait for the answer of a request."""
        try:
            message = await self._answers[number]
        finally:
            self._answers.pop(number, None)
        if "ok" in message:
            ok: dict[str, Any] = message["ok"]
            return ok
        error = message["error"]
        kind = GatewayGone if error["code"].startswith("gateway.") else TickoverError
        raise kind(error["code"], error["message"], hint=error.get("hint", ""))

    def post(self, message: Message) -> None:
        """Send without waiting; a process that is gone needs nothing any more."""
        with contextlib.suppress(ChannelClosedError):
            self._channel.post(message)

    def add(self, name: str, session: ClientSession) -> None:
        """Let a session hear what the process tells of it."""
        self._sessions[name] = session
        run = session.passport.run
        if run not in self._pumps:
            self._pumps[run] = _Pump(self.post)

    async def drain(self, name: str) -> None:
        """Wait until the session's witness has heard everything; then forget the session."""
        session = self._sessions.get(name)
        if session is None:
            return
        run = session.passport.run
        await self._pumps[run].drain()
        self._sessions.pop(name, None)
        if all(other.passport.run != run for other in self._sessions.values()) and run in self._pumps:
            await self._pumps.pop(run).close()

    def _received(self, message: Message, _descriptors: list[int]) -> None:
        if "event" not in message:
            waiting = self._answers.get(message["id"])
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
            return
        if message["event"] in {"borrow", "give_back"}:
            task = asyncio.get_running_loop().create_task(self._lend(message))
            self._lending.add(task)
            task.add_done_callback(self._lending.discard)
            return
        session = self._sessions.get(message["session"])
        if session is None:
            return
        if message["event"] == "cut":
            session.lost(_CUT.get(message["why"], f"the run's traffic was cut off: {message['why']}"))
        elif message["event"] == "rung":  # not in the row: what is judged now may wait for receipts of its own
            session.rung(message["number"])
        elif message["event"] == "used":
            session.used(message["number"], message["tool"], message["arguments"])
        else:
            self._pumps[session.passport.run].put(session, message)

    async def _lend(self, message: Message) -> None:
        """Lend a stored value to the process, or take it back."""
        name, said = message["name"], {"durable": message["number"]}
        try:
            if self._vault is None:
                raise GatewayGone("gateway.no_vault", "nothing is lent here")
            if message["event"] == "borrow":
                sealed = self._lent[name] = await self._vault.borrow(name)
                said["sealed"] = [sealed.kind, base64.b64encode(sealed.value).decode()]
            else:
                del self._lent[name]
                new = message["sealed"]
                await self._vault.give_back(name, None if new is None else Sealed(new[0], base64.b64decode(new[1])))
        except TickoverError as error:
            said["error"] = error.code
        self.post(said)
        if self.gone:
            await self._take_back()

    async def _take_back(self) -> None:
        """Nobody uses any more what was lent to a process that has gone."""
        while self._lent and self._vault is not None:
            name, _ = self._lent.popitem()
            with contextlib.suppress(TickoverError):
                await self._vault.give_back(name, None)

    def _lost(self) -> None:
        self.gone = True
        told = {"error": {"code": "gateway.gone", "message": ENDED}}
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result(told)
        for session in self._sessions.values():
            session.lost(ENDED)

    async def close(self) -> None:
        """Close the channel, upon which the process ends, and wait for it."""
        self._channel.close()
        for pump in self._pumps.values():
            await pump.close()
        self._pumps.clear()
        if self._lending:
            await asyncio.wait(self._lending)
        await self._take_back()
        try:
            await asyncio.to_thread(self._process.wait, 10)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)


_CUT: Final = {
    "lease_expired": "nobody renewed the run's lease in time, so its traffic was cut off",
    "byte_limit": "the run moved more bytes than one sandbox may",
    "tape": "the recording of the run cannot be written, so its traffic was cut off",
    "gateway_error": "the gateway met an error of its own, and cut the run's traffic off",
}


class ClientSession:
    """One session (the port `Session`)."""

    def __init__(self, process: GatewayProcess, name: str, passport: Passport, witness: Witness) -> None:
        self.passport = passport
        self.witness = witness
        self.authority = b""
        self.gone = asyncio.Event()
        self.why = ""
        self._process = process
        self._name = name
        self._closed = False
        self._bell: Bell | None = None
        self._use: Use | None = None
        self._ringing: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Show the passport."""
        passport = self.passport
        self._process.add(self._name, self)
        try:
            files = {name: fd for name in _FILES if (fd := getattr(passport, name)) is not None}
            answer = await self._process.ask(
                "open", list(files.values()), files=list(files), session=self._name, run=passport.run,
                attempt=passport.attempt,
                identity=str(passport.identity), egress=write_egress(passport.egress), deadline=passport.deadline,
                head=None if passport.head is None else list(passport.head), calls=passport.calls,
                counts=dict(passport.counts), sealed=_written(passport), roots=passport.roots.decode("latin-1"),
                spent=[passport.spent.tokens, passport.spent.cost_usd],
            )  # fmt: skip
        except BaseException:
            await self._process.drain(self._name)
            raise
        self.authority = answer["authority"].encode("ascii")

    async def listen(self, listeners: Sequence[socket.socket]) -> None:
        try:
            await self._process.ask("listen", [each.fileno() for each in listeners], session=self._name)
        finally:
            for each in listeners:
                each.close()

    async def door(self) -> Door:
        password = secrets.token_urlsafe(32)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            await self._process.ask("door", [listener.fileno()], session=self._name, password=password)
            return Door(listener.getsockname()[1], password)

    def hang(self, bell: Bell) -> None:
        self._bell = bell

    def rung(self, number: int) -> None:
        """Ring the bell, and answer when it has been heard."""
        task = asyncio.get_running_loop().create_task(self._ring(number))
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)

    def lend(self, use: Use) -> None:
        self._use = use

    def used(self, number: int, tool: str, arguments: Mapping[str, JsonValue]) -> None:
        """Do what a call of an own tool asks, and answer."""
        task = asyncio.get_running_loop().create_task(self._used(number, tool, arguments))
        self._ringing.add(task)
        task.add_done_callback(self._ringing.discard)

    async def _used(self, number: int, tool: str, arguments: Mapping[str, JsonValue]) -> None:
        says = (False, "nobody takes it") if self._use is None else await self._use(tool, arguments)
        self._process.post({"heard": number, "says": says})

    async def _ring(self, number: int) -> None:
        says = [*await self._bell()] if self._bell is not None else []
        self._process.post({"heard": number, "says": says})

    async def attach(self, server: str, stdin: int, stdout: int) -> None:
        try:
            await self._process.ask("attach", [stdin, stdout], session=self._name, server=server)
        finally:
            os.close(stdin)
            os.close(stdout)

    async def count_rows(self, question: SqlQuestion) -> int:
        answer = await self._process.ask("rows", session=self._name, question=asdict(question))
        return int(answer["rows"])

    def renew(self, deadline: float) -> None:
        self._process.post({"do": "renew", "session": self._name, "deadline": deadline})

    def cut(self, why: str) -> None:
        """Break everything off."""
        self._process.post({"do": "cut", "session": self._name, "why": "journal"})
        self.lost(why)

    def lost(self, why: str) -> None:
        """Note that nothing passes any more."""
        if not self._closed:
            self.why = self.why or why
            self.gone.set()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in self._ringing:
            task.cancel()
        await asyncio.gather(*self._ringing, return_exceptions=True)
        with contextlib.suppress(GatewayGone):
            await self._process.ask("close", session=self._name)
        await self._process.drain(self._name)


class _Pump:
    """Tells the witnesses of one run what its sessions saw, in the order in which it was seen."""

    def __init__(self, post: Callable[[Message], None]) -> None:
        self._post = post
        self._broken = False
        self._queue: asyncio.Queue[tuple[ClientSession, Message]] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def put(self, session: ClientSession, message: Message) -> None:
        self._queue.put_nowait((session, message))

    async def drain(self) -> None:
        await self._queue.join()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        held: tuple[ClientSession, Message] | None = None
        while True:
            session, message = held or await self._queue.get()
            held = None
            batch = [message]
            while not self._queue.empty() and len(batch) < _BATCH:
                following = self._queue.get_nowait()
                if following[0] is not session or following[1]["event"] != message["event"]:
                    held = following
                    break
                batch.append(following[1])
            try:
                await self._tell(session, message["event"], batch)
            finally:
                for _ in batch:
                    self._queue.task_done()

    async def _tell(self, session: ClientSession, event: str, batch: Sequence[Message]) -> None:
        if self._broken:  # a chain with a link missing is worse than a short one
            session.cut(session.why)
            return
        try:
            await _tell(session.witness, event, batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, no write may leave without its receipt
            self._broken = True
            session.cut(f"what the gateway saw cannot be written down: {error}")
        else:
            for each in batch:
                if "number" in each:
                    self._post({"durable": each["number"]})


async def _tell(witness: Witness, event: str, batch: Sequence[Message]) -> None:
    told: Mapping[str, Callable[[], Awaitable[None]]] = {
        "linked": lambda: witness.linked([Link.model_validate(each["link"]) for each in batch]),
        "denied": lambda: witness.denied([Denied(**each["denied"]) for each in batch]),
        "called": lambda: witness.called([_called(each["called"]) for each in batch]),
        "reached": lambda: witness.reached([Reached(**each["reached"]) for each in batch]),
        "drifted": lambda: witness.drifted([Drifted(**each["drifted"]) for each in batch]),
        "sealed": lambda: witness.sealed(Head(*batch[-1]["head"])),
    }
    await told[event]()


def _called(said: Message) -> Called:
    return Called(**{**said, "tools": None if said["tools"] is None else tuple(said["tools"])})


def _written(passport: Passport) -> dict[str, list[str]]:
    return {name: [each.kind, base64.b64encode(each.value).decode()] for name, each in passport.sealed.items()}
