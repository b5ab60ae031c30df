"""One judged request on its way to its upstream, and the answer back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tickover.core.lookup import JsonPath
from tickover.core.network import Decision
from tickover.gateway.answer import Answer
from tickover.gateway.asked import Asked
from tickover.gateway.base import Channel
from tickover.gateway.calls import Call
from tickover.gateway.fence import Fence
from tickover.gateway.framing import BodyWriter, Kind
from tickover.gateway.guard import Guard
from tickover.gateway.http1 import Data, End, Interim, Request, Response
from tickover.gateway.meter import MeteredCall
from tickover.gateway.patience import Patience, within
from tickover.gateway.pool import Pool, Upstream
from tickover.gateway.reading import Inflow
from tickover.gateway.refusal import Refusal
from tickover.gateway.scrub import Scrubber
from tickover.gateway.splice import Change, Splice
from tickover.gateway.tape import Recording
from tickover.gateway.tls import Secure
from tickover.gateway.websocket import Frames

_AT_ONCE = 32_768
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Exchange:
    """What there is to send, and to whom the answer goes. `answering` once a part of the answer was written."""

    request: Request
    asked: Asked
    head: bytes
    inflow: Inflow
    decision: Decision
    call: Call
    client: Channel
    paths: Sequence[JsonPath]
    keep_alive: bool
    gone: asyncio.Future[None]
    renew: Callable[[], Awaitable[bytes | None]]
    """Returns the head with another token where there can be one, after an answer 401."""
    metered: MeteredCall | None = None
    recording: Recording | None = None
    answering: bool = False
    _unsaid: list[bytes] = field(default_factory=list)
    _unsaid_size: int = 0

    def say(self, data: bytes) -> None:
        """Answer the client; small pieces wait for the next ones until `flush`."""
        self._unsaid.append(data)
        self._unsaid_size += len(data)
        if self._unsaid_size >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Send what was said. To be called before waiting for anything."""
        if self._unsaid_size:
            self.client.write(b"".join(self._unsaid))
        self._unsaid.clear()
        self._unsaid_size = 0


class Carrier:
    """Carries exchanges over the run's upstream connections."""

    def __init__(self, guard: Guard, pool: Pool, fence: Fence, patience: Patience) -> None:
        self._guard = guard
        self._fence = fence
        self._pool = pool
        self._patience = patience

    async def carry(self, exchange: Exchange) -> bool:
        """Send the request, pass the answer on; say whether the client's connection can be used again.

        Raises Refusal; if `exchange.answering` then, the client must not take what it has for the whole.
        """
        upstream = await self._take(exchange)
        current = [upstream]

        def abandon(_: asyncio.Future[None]) -> None:
            current[0].channel.reset()

        exchange.gone.add_done_callback(abandon)
        try:
            return await self._converse(exchange, current)
        except Refusal as refusal:
            if exchange.gone.done():
                raise Refusal(499, "client_gone", "the client went away") from refusal
            raise
        finally:
            exchange.gone.remove_done_callback(abandon)

    async def _converse(self, exchange: Exchange, current: list[Upstream]) -> bool:
        reads = not exchange.call.begun.writes and not exchange.asked.has_body
        upstream = current[0]
        try:
            try:
                response, upload = await self._ask(exchange, upstream)
            except _StaleError as stale:
                if not reads:
                    raise Refusal(502, "upstream_closed", "the connection was closed before an answer came") from stale
                upstream.channel.close()
                upstream = current[0] = await self._take(exchange, fresh=True)
                response, upload = await self._ask(exchange, upstream, again=True)
            if response.status == HTTPStatus.UNAUTHORIZED and (head := await exchange.renew()) and upload is None:
                upstream.channel.close()
                exchange.head = head
                upstream = current[0] = await self._take(exchange, fresh=True)
                response, upload = await self._ask(exchange, upstream, again=True)
            try:
                keep = await self._answer(exchange, upstream, response, upload)
            finally:
                if upload:
                    await _end(upload)
        except BaseException:
            upstream.channel.reset()
            raise
        if response.upgrade is None and response.keep_alive and upstream.reader.done and exchange.inflow.over:
            upstream.reader.next_message()
            self._pool.give_back(upstream)
        else:
            upstream.channel.close()
        return keep

    async def _take(self, exchange: Exchange, *, fresh: bool = False) -> Upstream:
        asked = exchange.asked
        return await self._pool.take(exchange.decision, asked.scheme, writes=exchange.call.begun.writes, fresh=fresh)

    # The request.

    async def _ask(
        self, exchange: Exchange, upstream: Upstream, *, again: bool = False
    ) -> tuple[Response, asyncio.Task[None] | None]:
        """Send the head, begin to send the body, wait for the answer's head."""
        asked, call, inflow = exchange.asked, exchange.call, exchange.inflow
        if not self._fence.passes():
            raise Refusal(503, self._fence.reason or "cut", "the run's traffic was cut off")
        call.sent = True
        upstream.reader.expect(asked.method, asked.upgrade)
        stale = upstream.used and not again
        if not inflow.over:
            upstream.channel.write(exchange.head)
        else:
            writer = BodyWriter(asked.framing)
            if inflow.begin and not again:
                call.request.add(inflow.begin)
            upstream.channel.write(exchange.head + writer.data(inflow.begin) + writer.end())
            return await self._head_in_time(upstream, stale=stale), None
        if exchange.request.expects_continue and not inflow.begin:
            exchange.client.write(_CONTINUE)
        upload = asyncio.get_running_loop().create_task(self._upload(exchange, upstream))
        head = asyncio.get_running_loop().create_task(self._head(upstream, stale=stale))
        try:
            await asyncio.wait({upload, head}, return_when=asyncio.FIRST_COMPLETED)
            if upload.done() and (not head.done() or head.exception()):
                upload.result()  # what broke the body tells more than what came of it
            if not head.done():
                async with self._answer_in_time():
                    await asyncio.shield(head)
            return head.result(), upload
        except BaseException:
            await _end(upload, head)
            raise

    async def _upload(self, exchange: Exchange, upstream: Upstream) -> None:
        writer, inflow = BodyWriter(exchange.asked.framing), exchange.inflow
        data = inflow.begin
        try:
            while True:
                if data:
                    exchange.call.request.add(data)
                    upstream.channel.write(writer.data(data))
                    if not upstream.channel.writable:
                        async with within(self._patience.idle_s, 504, "upstream_stuck", "the upstream took nothing"):
                            await upstream.channel.drain()
                async with within(self._patience.idle_s, 408, "slow_body", "nothing of the body came"):
                    data = await inflow.more()
                if not data:
                    break
            upstream.channel.write(writer.end())
        except Refusal:
            upstream.channel.reset()  # half a body must not be taken for a whole one
            raise

    # The answer.

    def _answer_in_time(self) -> within:
        return within(self._patience.answer_s, 504, "upstream_silent", "the upstream did not answer")

    async def _head_in_time(self, upstream: Upstream, *, stale: bool) -> Response:
        async with self._answer_in_time():
            return await self._head(upstream, stale=stale)

    async def _head(self, upstream: Upstream, *, stale: bool) -> Response:
        silent = True
        while True:
            event = upstream.reader.next_event()
            if isinstance(event, Response):
                return event
            if isinstance(event, Interim):
                continue
            try:
                data = await upstream.channel.read()
            except Refusal as refusal:
                if silent and stale:
                    raise _StaleError from refusal
                raise
            if not data and silent:
                if stale:
                    raise _StaleError
                raise Refusal(502, "upstream_closed", "the upstream closed the connection without an answer")
            silent = False
            upstream.reader.receive(data)

    async def _answer(
        self, exchange: Exchange, upstream: Upstream, response: Response, upload: asyncio.Task[None] | None
    ) -> bool:
        call = exchange.call
        call.status = response.status
        answer = Answer(response, exchange.asked.host, self._guard, exchange.paths, exchange.metered)
        whole_request = upload is None or upload.done()
        if exchange.recording:
            exchange.recording.fields = answer.fields()
        head, writer, keep = answer.head(exchange.request.version, keep_alive=exchange.keep_alive and whole_request)
        exchange.answering = True
        exchange.say(head)
        try:
            if response.upgrade:
                exchange.flush()
                await self._switched(exchange, upstream)
                call.whole = True
                return False
            while (data := await self._more(exchange, upstream, response)) is not None:
                for piece in answer.feed(data):
                    await self._pass(exchange, writer, piece)
            for piece in answer.finish():
                await self._pass(exchange, writer, piece)
            exchange.say(writer.end())
            exchange.flush()
            call.whole = True
        finally:
            call.response_json = answer.chosen(whole=call.whole)
        return keep

    async def _switched(self, exchange: Exchange, upstream: Upstream) -> None:
        """Let a websocket's frames pass, each secret blotted out of what the upstream says."""
        call, client, host = exchange.call, exchange.client, exchange.asked.host
        change: Change = bytes
        if self._guard.scrubber(host):
            change = Frames(lambda: self._guard.scrubber(host) or Scrubber(())).feed
        if early := exchange.inflow.reader.take_rest():
            call.request.add(early)
            upstream.channel.write(early)
        if first := change(upstream.reader.take_rest()):
            call.response.add(first)
            client.write(first)
        splice = Splice(client, upstream.channel, change, idle_s=self._patience.idle_s)
        await splice.run(call.request, call.response)

    async def _pass(self, exchange: Exchange, writer: BodyWriter, piece: bytes) -> None:
        if not piece:
            return
        if exchange.metered and exchange.metered.over:
            raise Refusal(402, "budget", "the answer took more of the run's budget than was left, so it was cut off")
        if exchange.gone.done():
            raise Refusal(499, "client_gone", "the client went away")
        exchange.call.response.add(piece)
        exchange.say(writer.data(piece))
        if not exchange.client.writable:
            exchange.flush()
            async with within(self._patience.idle_s, 408, "slow_reader", "nothing of the answer was taken"):
                await exchange.client.drain()

    async def _more(self, exchange: Exchange, upstream: Upstream, response: Response) -> bytes | None:
        """Return the next bytes of the body, None at its end."""
        while True:
            event = upstream.reader.next_event()
            if isinstance(event, Data):
                return event.data
            if isinstance(event, End):
                return None
            exchange.flush()
            async with within(self._patience.idle_s, 504, "upstream_silent", "nothing of the answer came"):
                data = await upstream.channel.read()
            channel = upstream.channel
            cut = response.framing.kind is Kind.UNTIL_EOF and isinstance(channel, Secure) and not channel.ended_well
            if not data and cut:
                raise Refusal(502, "truncated", "the answer broke off")
            upstream.reader.receive(data)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """End what only served the exchange; how it ended is of no interest any more."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()


class _StaleError(Exception):
    """A connection that was used before broke without a sign of an answer."""
