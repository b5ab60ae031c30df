"""The gateway's process: one for all runs of its client, alone with the keys and with a way out.

Requests come over descriptor 0 (gateway/channel.py), `{"id", "do", ...}`, and are answered `{"id", "ok"}` or
`{"id", "error"}`:

    open     a passport (gateway/session.py), the files that it names as descriptors -> the authority's certificate
    listen   the session's listeners, as descriptors
    door     a listener of this machine's own and its password, where there is no sandbox
    attach   the pipes of an MCP server that is a program, as descriptors
    rows     a question to a database -> how many
    renew    a deadline; not answered
    cut      break a session off; not answered
    close    a session: connections first, then what it still has to tell, then the answer
    verify   a run's chain of receipts

What a session saw is told as `{"event", "session", ...}`: `linked` (answered with `{"durable": NUMBER}` once it stands
in the journal, for which a write waits), `denied`, `reached`, `called`, `drifted`, `sealed`, `cut`, and `rung`
(answered with `{"heard": NUMBER, "says"}`: what the agent is told that wants to stop) and `used` (a call of one of the
run's own tools, answered alike: whether it could, and what the agent reads). `borrow` and `give_back` (a
refresh token, answered as `linked` is) are for the store. When the channel ends, so do we: nothing passes.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import json
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from pydantic import JsonValue, TypeAdapter

from tickover.core.errors import TickoverError
from tickover.core.metering import Spent
from tickover.core.receipt import Head, Identity, Link, verify
from tickover.core.sql import SqlQuestion
from tickover.gateway.app_tokens import AppTokens
from tickover.gateway.base import LedgerError
from tickover.gateway.chain import Chain
from tickover.gateway.channel import Channel, ChannelClosedError, Message
from tickover.gateway.keyring import Keyring
from tickover.gateway.letters import read_egress
from tickover.gateway.loop import run
from tickover.gateway.oauth import Tokens
from tickover.gateway.session import Passport, Sealed
from tickover.gateway.traffic import Others, Traffic
from tickover.gateway.values import key_of_instance, receipts_key

_LINKS: Final = TypeAdapter(tuple[Link, ...])
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_FAILURES: Final = (TickoverError, OSError, ValueError, KeyError, TypeError)


class Server:
    """Every session of one client."""

    def __init__(self, end: socket.socket, key: bytes) -> None:
        self._tokens = Tokens(key)
        self._receipts_key = receipts_key(key)
        self._chains: dict[str, Chain] = {}
        self._sessions: dict[str, Traffic] = {}
        self._keyring = Keyring()
        self._apps = AppTokens()
        self._waiting: dict[int, tuple[str, asyncio.Future[Message]]] = {}
        self._heard: dict[int, asyncio.Future[Any]] = {}
        self._forsaken: set[str] = set()  # sessions whose receipts nobody keeps any more
        self._serial = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.over = asyncio.Event()
        self._requests: dict[str, Callable[[Message, list[int]], Awaitable[dict[str, Any]]]] = {
            "open": self._open,
            "listen": self._listen,
            "door": self._door,
            "attach": self._attach,
            "rows": self._rows,
            "close": self._close,
            "verify": self._verify,
        }
        self._channel = Channel(end, self._received, self.over.set)
        self._channel.post({"id": 0, "ok": {"pid": os.getpid()}})

    # -- requests --------------------------------------------------------------------------------------------------

    def _received(self, message: Message, descriptors: list[int]) -> None:
        if "durable" in message:
            _, waiting = self._waiting.pop(message["durable"], ("", None))
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        elif "heard" in message:
            waits = self._heard.get(message["heard"])
            if waits is not None and not waits.done():
                waits.set_result(message["says"])
        elif message["do"] in {"renew", "cut"}:  # at once, in order: no task of a request may be ahead of it
            session = self._sessions.get(message["session"])
            if session is not None and message["do"] == "renew":
                session.renew(message["deadline"])
            elif session is not None:
                self._forsake(message["session"])
                session.cut(message["why"])
        else:
            task = asyncio.get_running_loop().create_task(self._answer(message, descriptors))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Message, descriptors: list[int]) -> None:
        try:
            answer = {"ok": await self._requests[message["do"]](message, descriptors)}
        except TickoverError as error:
            answer = {"error": error.as_dict()}
        except _FAILURES as error:
            answer = {"error": {"code": "gateway.request", "message": f"{type(error).__name__}: {error}", "hint": ""}}
        finally:
            for each in descriptors:
                os.close(each)
        self._post({"id": message["id"], **answer})

    async def _open(self, message: Message, descriptors: list[int]) -> dict[str, Any]:
        files = dict(zip(message["files"], descriptors, strict=True))
        passport = replace(read_passport(message), tape=files.get("tape"), cassette=files.get("cassette"))
        name = message["session"]
        chain = self._chains.get(passport.run)
        if chain is None:
            head, calls, counts = passport.head, passport.calls, passport.counts
            chain = Chain(passport.run, self._receipts_key, head=head, calls=calls, counts=counts)
            self._chains[passport.run] = chain

        async def keep(link: Link) -> None:
            await self._durable(name, {"event": "linked", "session": name, "link": link.model_dump(mode="json")})

        def tell(event: str, **parts: Any) -> None:
            self._post({"event": event, "session": name, **parts})

        async def ring() -> list[str]:
            says: list[str] = await self._asked("rung", name)
            return says

        async def use(tool: str, arguments: dict[str, JsonValue]) -> tuple[bool, str]:
            well, says = await self._asked("used", name, tool=tool, arguments=arguments)
            return well, says

        def held() -> tuple[bytes, ...]:
            return (*self._keyring.for_run(passport.run), *self._tokens.every(), *self._apps.every())

        lender = _Lender(lambda message: self._durable("", message))
        others = Others(keep, tell, ring, use, held, lender, self._apps)
        self._sessions[name] = session = Traffic(passport, self._tokens, chain, others)
        self._keyring.hold(name, passport.run, session.values.every())
        return {"authority": session.authority.decode("ascii")}

    async def _listen(self, message: Message, descriptors: list[int]) -> dict[str, Any]:
        listeners = [socket.socket(fileno=os.dup(each)) for each in descriptors]
        await self._sessions[message["session"]].listen(listeners)
        return {}

    async def _door(self, message: Message, descriptors: list[int]) -> dict[str, Any]:
        [descriptor] = descriptors
        listener = socket.socket(fileno=os.dup(descriptor))
        await self._sessions[message["session"]].door(listener, message["password"])
        return {}

    async def _attach(self, message: Message, descriptors: list[int]) -> dict[str, Any]:
        stdin, stdout = descriptors
        await self._sessions[message["session"]].attach(message["server"], os.dup(stdin), os.dup(stdout))
        return {}

    async def _rows(self, message: Message, _descriptors: list[int]) -> dict[str, Any]:
        question = SqlQuestion(**{**message["question"], "values": tuple(message["question"]["values"])})
        return {"rows": await self._sessions[message["session"]].count_rows(question)}

    async def _close(self, message: Message, _descriptors: list[int]) -> dict[str, Any]:
        session = self._sessions.pop(message["session"], None)
        if session is not None:
            await session.close()
            self._keyring.drop(message["session"])
            self._forsaken.discard(message["session"])
            if all(each.passport.run != session.passport.run for each in self._sessions.values()):
                self._chains.pop(session.passport.run, None)
        return {}

    async def _verify(self, message: Message, _descriptors: list[int]) -> dict[str, Any]:
        links = _LINKS.validate_python(message["links"])
        sealed = Head(*message["sealed"])
        broken = verify(links, sealed, message["run"], self._receipts_key, unfinished=message["unfinished"])
        return {"broken": None if broken is None else list(broken)}

    # -- events ----------------------------------------------------------------------------------------------------

    def _post(self, message: Message) -> None:
        if self._channel.open:
            self._channel.post(message)

    async def _asked(self, event: str, session: str, **parts: Any) -> Any:
        """Ask the other side for what an agent hears. Whoever waits ends with its connection."""
        self._serial += 1
        number = self._serial
        self._heard[number] = asyncio.get_running_loop().create_future()
        try:
            self._post({"event": event, "session": session, "number": number, **parts})
            return await self._heard[number]
        finally:
            del self._heard[number]

    async def _durable(self, session: str, message: Message) -> Message:
        """Send and wait until the other side says that it is kept; return what it said. Raises LedgerError."""
        if session in self._forsaken:
            raise LedgerError("nobody keeps this run's receipts any more")
        self._serial += 1
        number = self._serial
        waiting: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = session, waiting
        try:
            await self._channel.send({**message, "number": number})
            return await waiting
        except ChannelClosedError as error:
            raise LedgerError("the other side is gone") from error
        finally:
            self._waiting.pop(number, None)

    def _forsake(self, session: str) -> None:
        """Let nothing of a session wait for a journal that will not have it."""
        self._forsaken.add(session)
        for name, waiting in self._waiting.values():
            if name == session and not waiting.done():
                waiting.set_exception(LedgerError("the journal does not take it"))

    def end(self) -> None:
        """Break everything off."""
        for name, session in self._sessions.items():
            session.cut("gateway_closed")
            self._forsake(name)


class _Lender:
    """Asks the other side for a stored value (the port `Lender`)."""

    def __init__(self, ask: Callable[[Message], Awaitable[Message]]) -> None:
        self._ask = ask

    async def borrow(self, name: str) -> Sealed:
        said = await self._ask({"event": "borrow", "name": name})
        if "error" in said:
            raise LedgerError(said["error"])
        kind, value = said["sealed"]
        return Sealed(kind, base64.b64decode(value))

    async def give_back(self, name: str, sealed: Sealed | None) -> None:
        written = None if sealed is None else [sealed.kind, base64.b64encode(sealed.value).decode()]
        said = await self._ask({"event": "give_back", "name": name, "sealed": written})
        if "error" in said:
            raise LedgerError(said["error"])


def read_passport(message: Message) -> Passport:
    """Read what `open` brings. Raises ValueError, KeyError or TypeError."""
    return Passport(
        run=message["run"],
        attempt=message["attempt"],
        identity=Identity(message["identity"]),
        egress=read_egress(message["egress"]),
        deadline=float(message["deadline"]),
        head=None if message["head"] is None else Head(*message["head"]),
        calls=int(message["calls"]),
        counts=message["counts"],
        spent=Spent(int(message["spent"][0]), float(message["spent"][1])),
        sealed={name: Sealed(kind, base64.b64decode(value)) for name, (kind, value) in message["sealed"].items()},
        roots=message["roots"].encode("latin-1"),
    )


async def serve(end: socket.socket, key: bytes) -> None:
    """Serve until the other side closes."""
    server = Server(end, key)
    await server.over.wait()
    server.end()


def _harden() -> None:
    """Die with our parent, leave no core dump, and let no process of the same user look into our memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(arguments: list[str]) -> int:
    """Serve on descriptor 0, a socketpair's end; arguments: the path of the key file, and maybe a loop's name."""
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal's keys are for our parent
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    end = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    _harden()
    try:
        key = key_of_instance(arguments[0])
    except (TickoverError, OSError) as error:
        told = error.as_dict() if isinstance(error, TickoverError) else {"code": "gateway.key", "message": str(error)}
        end.sendall(json.dumps({"id": 0, "error": told}).encode() + b"\n")
        return 1
    run(serve(end, key), *arguments[1:])
    return 0
