"""An MCP server that is a program: newline-delimited JSON-RPC over the two pipes of its own sandbox.

Format: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#stdio. Such a program has one
conversation for its whole life, and an agent may open several: all of them share it. Its `initialize` is sent once and
answered from then on; requests and progress tokens are numbered here, so that nobody hears another's answer. What it
says on its own account goes to whoever asked last or to those who listen, and is dropped while nobody does. It hears of
the end of a subscription when the last conversation has ended it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from io import FileIO
from typing import Any, Final, cast

from pydantic import JsonValue

from tickover.core.document import DocumentError, read_json
from tickover.gateway.fence import Fence
from tickover.gateway.mcp.base import LARGEST_ANSWER, SUBSCRIBE, UNSUBSCRIBE, Message, NotSent, written
from tickover.gateway.patience import Patience, within
from tickover.gateway.refusal import Refusal

MOST_WAITING: Final = 256
"""Requests under way at once, and messages that one of them has not taken."""
MOST_NOISE: Final = 100
"""Lines that are no message: the protocol forbids them, and many programs print one or two when they start."""
_PIECE: Final = 64 << 10
_METHOD_NOT_FOUND: Final = -32601


@dataclass(slots=True, eq=False, kw_only=True)
class _Ear:
    """Somebody who hears what the program says, because he listens or because he asked."""

    talk: Conversation
    heard: asyncio.Queue[Message | Refusal] = field(default_factory=asyncio.Queue)


@dataclass(slots=True, eq=False, kw_only=True)
class _Asked(_Ear):
    """A request under way. `theirs` is its number (or token) as its conversation knows it."""

    theirs: JsonValue
    token: JsonValue = None


class StdioServer:
    """One program. It ends when its pipes do, when the fence is cut, or when it says what nobody could hold."""

    def __init__(self, stdin: int, stdout: int, fence: Fence, patience: Patience | None = None) -> None:
        """Take the program's pipes (see sandbox.base.Talking); they are closed with the server."""
        self._pipes = (stdin, stdout)
        self._fence = fence
        self._patience = patience or Patience()
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        self._ears: list[_Ear] = []
        self._watched: dict[JsonValue, set[Conversation]] = {}
        self._writer: asyncio.WriteTransport | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._reader: asyncio.ReadTransport | None = None
        self._noise = 0
        self._first: asyncio.Future[JsonValue] | None = None
        self._greeted = False
        self.over: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        """Set once nothing can be asked any more, and why."""

    async def open(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        stdin, stdout = self._pipes
        self._writer, _ = await loop.connect_write_pipe(lambda: _Writing(self), FileIO(stdin, "wb"))
        self._reader, _ = await loop.connect_read_pipe(lambda: _Reading(self), FileIO(stdout, "rb"))
        self._fence.add(self)

    @property
    def busy(self) -> int:
        """Requests that wait for their answer."""
        return len(self._asked)

    def connect(self) -> Conversation:
        """Begin a conversation (the port's `Connect`)."""
        return Conversation(self)

    def close(self) -> None:
        """Let go of the program. Idempotent."""
        self.end(Refusal(503, "mcp_closed", "the MCP server's time is over"))

    def reset(self) -> None:
        """Break off: the fence was cut."""
        self.end(Refusal(503, self._fence.reason or "cut", "the run's traffic was cut off"))

    def end(self, why: Refusal) -> None:
        """Tell everybody who waits that there is nobody any more."""
        if self.over.done():
            return
        self.over.set_result(why)
        self._fence.discard(self)
        self._drained.set()
        for transport in (self._writer, self._reader):
            if transport is not None:
                transport.close()
        for each in (*self._asked.values(), *self._ears):
            each.heard.put_nowait(why)
        if self._first is not None and not self._first.done():
            self._first.cancel()

    # Out.

    async def post(self, message: Message) -> None:
        """Write one message. Raises NotSent."""
        line = written(message) + b"\n"
        self._must_live()
        if not self._fence.passes(len(line)) or self._writer is None:
            raise NotSent(503, self._fence.reason or "cut", "the run's traffic was cut off")
        self._writer.write(line)
        async with within(self._patience.idle_s, 504, "upstream_stuck", "the MCP server took nothing"):
            await self._drained.wait()

    def _must_live(self) -> None:
        if self.over.done():
            why = self.over.result()
            raise NotSent(why.status, why.reason, why.detail)

    def stuck(self, *, full: bool) -> None:
        """Hear of the pipe whether it takes more."""
        if full:
            self._drained.clear()
        else:
            self._drained.set()

    # In.

    def hear(self, line: bytes) -> None:
        """Take one line of the program's."""
        try:
            message = read_json(line, unique=True)
        except DocumentError:
            message = None
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self._noise += bool(line.strip())
            if self._noise > MOST_NOISE:
                self.end(Refusal(502, "mcp_no_protocol", "the MCP server prints what is no message"))
        elif isinstance(message.get("method"), str):
            self._said(message)
        else:
            self._answered(message)

    def _answered(self, message: Message) -> None:
        number = message.get("id")
        asked = self._asked.pop(number, None) if isinstance(number, int) else None
        if asked is not None:
            asked.heard.put_nowait({**message, "id": asked.theirs})

    def _said(self, message: Message) -> None:
        """Pass on what the program says unasked; a request that reaches nobody is answered here."""
        params = message.get("params")
        listener = next(reversed(self._asked.values()), None)
        if message["method"] == "notifications/progress" and isinstance(params, dict):
            token = params.get("progressToken")
            listener = self._asked.get(token) if isinstance(token, int) else None
            if listener is None or listener.token is None:
                return
            message = {**message, "params": {**params, "progressToken": listener.token}}
        if "id" in message and (message["method"] == "ping" or listener is None):
            self._answer(message)
            return
        for each in self._hearers(message, listener):
            if each.heard.qsize() < MOST_WAITING:
                each.heard.put_nowait(message)

    def _hearers(self, message: Message, asked: _Asked | None) -> list[_Ear]:
        """Return who hears it: who asked last, and of news (a list or a resource that changed) all who listen.

        A conversation hears it once, by its newest stream.
        """
        ears: dict[Conversation, _Ear] = {each.talk: each for each in self._ears}
        if "id" not in message and str(message["method"]).endswith(("/updated", "/list_changed")):
            return list({**({asked.talk: asked} if asked else {}), **ears}.values())
        return [asked] if asked else list(ears.values())

    def _answer(self, message: Message) -> None:
        answer: Message = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": _METHOD_NOT_FOUND, "message": "nobody is asked for anything now"}
        self._mention(answer)

    def _mention(self, message: Message) -> None:
        """Write something that need not arrive, if that can be done at once."""
        line = written(message) + b"\n"
        if self._writer is not None and self._drained.is_set() and self._fence.passes(len(line)):
            self._writer.write(line)

    # What conversations ask.

    async def ask(self, talk: Conversation, message: Message) -> AsyncGenerator[Message, None]:
        """Send a request, numbered anew, and yield what comes of it."""
        if len(self._asked) >= MOST_WAITING:
            raise NotSent(503, "mcp_busy", f"over {MOST_WAITING} requests wait for this MCP server")
        number = next(self._numbers)
        asked = _Asked(talk=talk, theirs=message["id"], token=_token(message))
        self._asked[number] = asked
        try:
            await self.post(_with_token({**message, "id": number}, number))
            while True:
                async with within(self._patience.answer_s, 504, "upstream_silent", "the MCP server did not answer"):
                    heard = await asked.heard.get()
                if isinstance(heard, Refusal):
                    raise Refusal(heard.status, heard.reason, heard.detail)
                yield heard
                if "method" not in heard:
                    return
        finally:
            if self._asked.pop(number, None) is not None and not self.over.done():
                with suppress(Refusal):
                    await self.post(_cancelled(number))

    async def overhear(self, talk: Conversation) -> AsyncGenerator[Message, None]:
        """Yield `{}`, then what the program says unasked (see the port)."""
        self._must_live()
        ear = _Ear(talk=talk)
        self._ears.append(ear)
        try:
            yield {}
            while True:
                heard = await ear.heard.get()
                if isinstance(heard, Refusal):
                    raise Refusal(heard.status, heard.reason, heard.detail)
                yield heard
        finally:
            self._ears.remove(ear)

    async def watch(self, talk: Conversation, message: Message) -> AsyncGenerator[Message, None]:
        """Begin or end a subscription: the program hears of an end only when it is the last conversation's."""
        uri = cast("dict[str, Any]", message.get("params") or {}).get("uri")
        kept = message["method"] == UNSUBSCRIBE
        if not kept:
            self._watched.setdefault(uri, set()).add(talk)
        elif not self._let_go(talk, uri):
            yield {"jsonrpc": "2.0", "id": message["id"], "result": {}}
            return
        try:
            async with aclosing(self.ask(talk, message)) as exchange:
                async for heard in exchange:
                    kept = kept or "result" in heard
                    yield heard
        finally:
            if not kept:
                self._let_go(talk, uri)

    def _let_go(self, talk: Conversation, uri: JsonValue) -> bool:
        """Say whether nobody holds a subscription any more."""
        holders = self._watched.get(uri, set())
        holders.discard(talk)
        if not holders:
            self._watched.pop(uri, None)
        return not holders

    async def introduce(self, talk: Conversation, message: Message) -> AsyncGenerator[Message, None]:
        """Answer an `initialize`: the first is sent, the others have its answer."""
        while self._first is not None:
            try:
                result = await asyncio.shield(self._first)
            except asyncio.CancelledError:
                if not self._first.cancelled():
                    raise
                self._first = None  # who was first gave up: the next one is
                continue
            self._must_live()
            yield {"jsonrpc": "2.0", "id": message["id"], "result": result}
            return
        first = self._first = asyncio.get_running_loop().create_future()
        try:
            async for heard in self.ask(talk, message):
                if "result" in heard:
                    first.set_result(heard["result"])
                yield heard
        finally:
            if not first.done():
                first.cancel()

    async def greet(self, message: Message) -> None:
        """Say once that the client is ready, whoever says it."""
        if not self._greeted:
            self._greeted = True
            await self.post(message)

    async def give_up(self, talk: Conversation, message: Message) -> None:
        """Pass on that somebody does not want an answer any more, by the number that the program knows."""
        params = cast("dict[str, Any]", message.get("params") or {})
        for number, asked in self._asked.items():
            if asked.talk is talk and asked.theirs == params.get("requestId"):
                await self.post({**message, "params": {**params, "requestId": number}})
                return

    def forget(self, talk: Conversation) -> None:
        """End what a conversation still waits for."""
        for each in (*self._asked.values(), *self._ears):
            if each.talk is talk:
                each.heard.put_nowait(Refusal(499, "client_gone", "the conversation was ended"))
        for uri in [uri for uri, holders in self._watched.items() if talk in holders]:
            if self._let_go(talk, uri) and not self.over.done():
                params: dict[str, JsonValue] = {"uri": uri}
                self._mention({"jsonrpc": "2.0", "id": next(self._numbers), "method": UNSUBSCRIBE, "params": params})


class Conversation:
    """One of the conversations with a program (the port `Upstream`)."""

    def __init__(self, server: StdioServer) -> None:
        self._server = server

    async def send(self, message: Message) -> AsyncGenerator[Message, None]:
        """Send a message (see the port)."""
        method = message.get("method")
        if method == "initialize":
            exchange = self._server.introduce(self, message)
        elif method in {SUBSCRIBE, UNSUBSCRIBE}:
            exchange = self._server.watch(self, message)
        elif method is not None and "id" in message:
            exchange = self._server.ask(self, message)
        else:
            if method == "notifications/initialized":
                await self._server.greet(message)
            elif method == "notifications/cancelled":
                await self._server.give_up(self, message)
            else:
                await self._server.post(message)
            return
        try:
            async for heard in exchange:
                yield heard
        finally:
            await exchange.aclose()

    def listen(self) -> AsyncGenerator[Message, None]:
        """See the port."""
        return self._server.overhear(self)

    async def close(self) -> None:
        self._server.forget(self)


class _Writing(asyncio.BaseProtocol):
    """The program's input."""

    def __init__(self, server: StdioServer) -> None:
        self._server = server

    def pause_writing(self) -> None:
        self._server.stuck(full=True)

    def resume_writing(self) -> None:
        self._server.stuck(full=False)

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.end(Refusal(502, "mcp_died", "the MCP server has ended"))


class _Reading(asyncio.Protocol):
    """The program's output, line by line."""

    def __init__(self, server: StdioServer) -> None:
        self._server = server
        self._held = bytearray()

    def data_received(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._held) + lines[0]
            self._held.clear()
        for line in lines:
            self._server.hear(line)
        self._held += rest
        if len(self._held) > LARGEST_ANSWER:
            self._held.clear()
            self._server.end(
                Refusal(502, "mcp_too_large", f"a message of the MCP server has over {LARGEST_ANSWER} bytes")
            )

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.end(Refusal(502, "mcp_died", "the MCP server has ended"))


def _token(message: Message) -> JsonValue:
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta.get("progressToken") if isinstance(meta, dict) else None


def _with_token(message: Message, number: int) -> Message:
    """Return a request whose progress is told under our number."""
    if _token(message) is None:
        return message
    params = cast("dict[str, Any]", message["params"])
    return {**message, "params": {**params, "_meta": {**params["_meta"], "progressToken": number}}}


def _cancelled(number: int) -> Message:
    return {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": number, "reason": "nobody waits for it any more"},
    }
