"""The gateway's own name, `http://tickover.internal/`: what answers inside a sandbox without leaving the machine.

A path belongs to one handler: the longest prefix that it begins with. Whatever is asked here is hostile, as all that
comes from a sandbox; an answer is no evidence of anything, and leaves no receipt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from tickover.gateway.base import Denial, TellDenial
from tickover.gateway.fields import Fields
from tickover.gateway.framing import CHUNKED, UNTIL_EOF, BodyWriter, Framing, Kind
from tickover.gateway.http1 import Request, RequestReader, refusal_answer, response_head
from tickover.gateway.patience import Patience, within
from tickover.gateway.plane import Arrival
from tickover.gateway.reading import Inflow
from tickover.gateway.refusal import Refusal
from tickover.gateway.wire import Wire

T = TypeVar("T")

LARGEST: Final = 1 << 20
"""Bytes of a request's body; a longer one is refused."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class InternalRequest:
    """A request, whole. `path` and `query` are as the client wrote them, in one canonical spelling."""

    method: str
    path: str
    query: str
    fields: Fields
    body: bytes


@dataclass(frozen=True, slots=True)
class InternalAnswer:
    """An answer: whole, or in pieces as they come; one that breaks off in the middle is reset."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    fields: Fields = field(default_factory=Fields)


Handler: TypeAlias = Callable[[InternalRequest], Coroutine[Any, Any, InternalAnswer]]
"""Answers. A Refusal that it raises is answered as such, and told as a denial unless it is a 5xx.

It is cancelled, and an iterator that it returned is closed, as soon as nobody listens any more.
"""


class Internal:
    """Serves the connections to our own name. `handlers`: a path's beginning -> who answers below it."""

    def __init__(self, handlers: Mapping[str, Handler], tell: TellDenial, patience: Patience | None = None) -> None:
        self._handlers = dict(sorted(handlers.items(), key=lambda each: -len(each[0])))
        self._tell = tell
        self._patience = patience or Patience()

    async def __call__(self, arrival: Arrival) -> None:
        """Serve a connection until its end."""
        if arrival.hello is not None:
            raise Refusal(421, "internal_tls", f"{arrival.decision.host} is asked by http://, not by https://")
        reader = arrival.reader or RequestReader(frozenset({"origin"}))
        if arrival.reader is None:
            reader.receive(arrival.first)
        request = arrival.request
        while request or (request := await self._next(arrival, reader)):
            if not await self._serve(arrival, reader, request) or arrival.request is not None:
                return
            reader.next_message()
            request = None

    async def _next(self, arrival: Arrival, reader: RequestReader) -> Request | None:
        try:
            async with within(self._patience.keep_alive_s, 408, "idle", "no whole head of a request"):
                while (event := reader.next_event()) is None:
                    data = await arrival.client.read()
                    if not data and reader.idle:
                        return None
                    reader.receive(data)
        except Refusal as refusal:
            if refusal.reason != "idle":
                await self._refuse(arrival, None, refusal)
            return None
        return event if isinstance(event, Request) else None

    async def _serve(self, arrival: Arrival, reader: RequestReader, request: Request) -> bool:
        """Answer a request; say whether another one may follow on the connection."""
        begun = False
        try:
            body = await self._body(arrival, reader, request)
            path, _, query = request.target.path.partition("?")
            handler = next((each for prefix, each in self._handlers.items() if path.startswith(prefix)), None)
            if handler is None:
                raise Refusal(404, "internal_path", f"nothing answers at {path[:100]} of {arrival.decision.host}")
            told = InternalRequest(request.method, path, query, request.fields, body)
            answer = await _while_heard(arrival.client, handler(told))
            begun = True
            return await _while_heard(arrival.client, self._answer(arrival, request, answer))
        except Refusal as refusal:
            if begun or refusal.status == 499:
                arrival.client.reset()
            else:
                await self._refuse(arrival, request, refusal)
            return False

    async def _body(self, arrival: Arrival, reader: RequestReader, request: Request) -> bytes:
        if request.expects_continue:
            arrival.client.write(_CONTINUE)
        inflow, body = Inflow(arrival.client, reader), bytearray()
        async with within(self._patience.body_s, 408, "slow_body", "the body did not come"):
            while data := await inflow.more():
                body += data
                if len(body) > LARGEST:
                    raise Refusal(413, "large_body", f"the body has more than {LARGEST} bytes")
        return bytes(body)

    async def _answer(self, arrival: Arrival, request: Request, answer: InternalAnswer) -> bool:
        client, body = arrival.client, answer.body
        if isinstance(body, bytes):
            framing = Framing(Kind.LENGTH, len(body))
        else:
            framing = CHUNKED if request.version == (1, 1) else UNTIL_EOF
        keep = request.keep_alive and arrival.request is None and framing is not UNTIL_EOF
        client.write(response_head(answer.status, answer.fields, framing, keep_alive=keep))
        if request.method == "HEAD":
            return keep
        writer = BodyWriter(framing)
        if isinstance(body, bytes):
            client.write(writer.data(body))
        else:
            async with aclosing(_iterated(body)) as pieces:
                async for piece in pieces:
                    client.write(writer.data(piece))
                    await client.drain()
        client.write(writer.end())
        await client.drain()
        return keep

    async def _refuse(self, arrival: Arrival, request: Request | None, refusal: Refusal) -> None:
        decision = arrival.decision
        method, path = (request.method, request.target.path.partition("?")[0]) if request else ("", "")
        told = Denial(decision.host, decision.port, refusal.status, refusal.reason, refusal.detail, method, path)
        self._tell(told)
        arrival.client.write(refusal_answer(refusal, head_only=method == "HEAD"))
        with suppress(Refusal):  # closing on unread bytes would take the answer back
            async with within(self._patience.linger_s, 408, "linger", ""):
                await arrival.client.drain()
                arrival.client.write_eof()
                while await arrival.client.read():
                    pass


async def _while_heard(client: Wire, work: Coroutine[Any, Any, T]) -> T:
    """Do something for a client until it is done, or the client sends no more: then Refusal 499."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        waited: set[asyncio.Future[Any]] = {task, client.ending}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refusal(499, "client_gone", "nobody listens any more")
        return await task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _iterated(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in body:
            yield piece
    finally:
        if isinstance(body, AsyncGenerator):
            await body.aclose()
