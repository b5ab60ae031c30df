"""An MCP server over HTTP: each message a POST, answered by one JSON document or by a stream of events.

The server's session id stays here: for whoever has it, it can be as good as a credential. A stream that ends before the
answer is not taken up again, and redirects are not followed.
Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports (Streamable HTTP).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from tickover.core.document import DocumentError, read_json
from tickover.core.mcp import McpServer
from tickover.core.model_stream import Events
from tickover.gateway.asked import Asked
from tickover.gateway.base import Channel
from tickover.gateway.fence import Fence
from tickover.gateway.fields import Fields
from tickover.gateway.framing import NO_BODY, Framing, Kind
from tickover.gateway.guard import Guard
from tickover.gateway.http1 import Data, End, Interim, Response
from tickover.gateway.mcp.base import LARGEST_ANSWER, Message, NotSent, Rejected, written
from tickover.gateway.patience import Patience, within
from tickover.gateway.pool import Pool, Upstream
from tickover.gateway.refusal import Refusal

_SESSION: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_FAREWELL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Road:
    """How one server is reached: connections, its credential, and what stops all of it."""

    server: McpServer
    pool: Pool
    guard: Guard
    fence: Fence
    patience: Patience


class Streamable:
    """One conversation."""

    def __init__(self, road: Road) -> None:
        self._road = road
        self._session = ""
        self._version = ""
        self._listening: set[Channel] = set()

    async def send(self, message: Message) -> AsyncGenerator[Message, None]:
        """See the port."""
        body = written(message)
        fields = [("accept", "application/json, text/event-stream"), ("content-type", "application/json")]
        upstream, response = await self._asked("POST", fields, body)
        try:
            async with aclosing(self._answers(message, upstream, response)) as found:
                async for each in found:
                    self._learn(message, each, response)
                    yield each
        except BaseException:
            upstream.channel.reset()
            raise
        if not upstream.reader.done:
            with suppress(Refusal):
                upstream.reader.next_event()  # the end of a stream may have come with the answer
        if response.keep_alive and upstream.reader.done:
            upstream.reader.next_message()
            self._road.pool.give_back(upstream)
        else:
            upstream.channel.close()

    async def listen(self) -> AsyncGenerator[Message, None]:
        """See the port. Silence is no fault here: the stream ends with the server's word, the session or the lease."""
        upstream, response = await self._asked("GET", [("accept", "text/event-stream")], b"")
        self._listening.add(upstream.channel)
        try:
            if response.status != HTTPStatus.OK:
                raise Rejected(response.status)
            if _kind(response) != "text/event-stream" or _coded(response):
                raise Refusal(502, "mcp_malformed", "the server's stream is no plain text/event-stream")
            yield {}
            async with aclosing(self._events(upstream, idle_s=None, unique=True)) as events:
                async for each in events:
                    if isinstance(each.get("method"), str):
                        yield each
        finally:
            self._listening.discard(upstream.channel)
            upstream.channel.reset()

    async def close(self) -> None:
        """See the port: the server is told, if that can be done at once."""
        for channel in list(self._listening):
            channel.reset()
        if not self._session:
            return
        with suppress(Refusal, TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                upstream = await self._begin("DELETE", [], b"")
                self._session = ""
                try:
                    await self._head(upstream)
                finally:
                    upstream.channel.close()

    # Out.

    async def _asked(self, method: str, fields: list[tuple[str, str]], body: bytes) -> tuple[Upstream, Response]:
        """Send a request and read the answer's head, a second time with a new token where the first was too old."""
        upstream = await self._begin(method, fields, body)
        try:
            response = await self._head(upstream)
            guard, credential = self._road.guard, self._road.server.credential
            if response.status == HTTPStatus.UNAUTHORIZED and await guard.renewed(credential):
                upstream.channel.close()
                upstream = await self._begin(method, fields, body)
                response = await self._head(upstream)
        except BaseException:
            upstream.channel.reset()
            raise
        return upstream, response

    async def _begin(self, method: str, fields: list[tuple[str, str]], body: bytes) -> Upstream:
        """Send a request. Raises NotSent where nothing of it left."""
        road, url = self._road, urlsplit(self._road.server.url)
        decision = road.server.policy.judge(url.hostname or "", url.port or 443)
        if not decision.allowed:
            raise NotSent(403, decision.code, decision.says)
        self._must_pass()
        if self._version:
            fields = [*fields, ("mcp-protocol-version", self._version)]
        if self._session:
            fields = [*fields, ("mcp-session-id", self._session)]
        framing = Framing(Kind.LENGTH, len(body)) if body else NO_BODY
        asked = Asked(
            method, "https", decision.host, decision.port, url.path or "/", "", Fields(fields), framing
        ).having("accept-encoding", "identity")  # fmt: skip
        try:
            await road.guard.fresh(decision.host)
            head = road.guard.dress(asked, road.server.credential).head()
            upstream = await road.pool.take(decision, "https", writes=True)
        except Refusal as refusal:
            raise NotSent(refusal.status, refusal.reason, refusal.detail) from refusal
        try:
            self._must_pass()
        except NotSent:
            upstream.channel.close()
            raise
        upstream.reader.expect(method)
        upstream.channel.write(head + body)
        return upstream

    def _must_pass(self) -> None:
        fence = self._road.fence
        if not fence.passes():
            raise NotSent(503, fence.reason or "cut", "the run's traffic was cut off")

    # Back.

    async def _head(self, upstream: Upstream) -> Response:
        async with within(self._road.patience.answer_s, 504, "upstream_silent", "the server did not answer"):
            while True:
                event = upstream.reader.next_event()
                if isinstance(event, Response):
                    return event
                if not isinstance(event, Interim):
                    await self._more(upstream)

    async def _more(self, upstream: Upstream) -> None:
        data = await upstream.channel.read()
        if not data and not self._road.fence.passes():
            raise Refusal(503, self._road.fence.reason or "cut", "the run's traffic was cut off")
        upstream.reader.receive(data)

    async def _body(self, upstream: Upstream, idle_s: float | None) -> AsyncGenerator[bytes, None]:
        while True:
            event = upstream.reader.next_event()
            if isinstance(event, Data):
                yield event.data
            elif isinstance(event, End):
                return
            elif idle_s is None:
                await self._more(upstream)
            else:
                async with within(idle_s, 504, "upstream_silent", "nothing of the answer came"):
                    await self._more(upstream)

    async def _answers(self, message: Message, upstream: Upstream, response: Response) -> AsyncGenerator[Message, None]:
        """Yield the messages of an answer. Raises Rejected for a status that says no."""
        asks = "method" in message and "id" in message
        if _coded(response):
            raise Refusal(502, "content_coding", "the answer is coded, though it was asked to be plain")
        kind, idle_s = _kind(response), self._road.patience.idle_s
        if kind == "text/event-stream" and response.status == 200 and asks:
            async with aclosing(self._events(upstream, idle_s)) as events:
                async for each in events:
                    yield each
                    if "method" not in each and each.get("id") == message["id"]:
                        return
            raise Refusal(502, "truncated", "the server's stream ended before the answer")
        whole = bytearray()
        async with aclosing(self._body(upstream, idle_s)) as pieces:
            async for piece in pieces:
                whole += piece
                if len(whole) > LARGEST_ANSWER:
                    raise Refusal(502, "mcp_too_large", f"the answer is longer than {LARGEST_ANSWER} bytes")
        if 200 <= response.status < 300 and not asks:
            return
        if kind == "application/json":
            with suppress(Refusal):  # of a status that says no, the error in it says more
                found = _read(bytes(whole))
                if asks and found.get("id") == message["id"]:
                    yield found
                    return
        if not 200 <= response.status < 300:
            raise Rejected(response.status)
        raise Refusal(502, "mcp_malformed", "the server's answer holds no answer to what was asked")

    async def _events(
        self, upstream: Upstream, idle_s: float | None, *, unique: bool = False
    ) -> AsyncGenerator[Message, None]:
        reader, size = Events(), 0
        async with aclosing(self._body(upstream, idle_s)) as pieces:
            async for piece in pieces:
                found = reader.feed(piece)
                size = len(piece) if found else size + len(piece)
                if size > LARGEST_ANSWER:
                    raise Refusal(502, "mcp_too_large", f"an event is longer than {LARGEST_ANSWER} bytes")
                for each in found:
                    if each.strip():  # an event without data only says where a stream could be taken up
                        yield _read(each, unique=unique)

    def _learn(self, message: Message, answer: Message, response: Response) -> None:
        """Take from the answer to `initialize` what every later message must say."""
        result = answer.get("result")
        if message.get("method") != "initialize" or not isinstance(result, dict):
            return
        version = result.get("protocolVersion")
        self._version = version if isinstance(version, str) and re.fullmatch(r"[0-9-]{1,20}", version) else ""
        said = response.fields.all("mcp-session-id")
        if said and (len(said) > 1 or not _SESSION.fullmatch(said[0])):
            raise Refusal(502, "mcp_malformed", "the server's session id is none")
        self._session = said[0] if said else ""


def _kind(response: Response) -> str:
    return ",".join(response.fields.all("content-type")).partition(";")[0].strip().lower()


def _coded(response: Response) -> bool:
    return any(each != "identity" for each in response.fields.tokens("content-encoding"))


def _read(data: bytes, *, unique: bool = False) -> dict[str, Any]:
    """Read a message of a server. Raises Refusal for what is none."""
    try:
        value = read_json(data, unique=unique)
    except DocumentError as error:
        raise Refusal(502, "mcp_malformed", f"the server's message is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refusal(502, "mcp_malformed", "the server's message is no map, or a batch")
    return value
