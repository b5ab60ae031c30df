"""One agent's session with one server: the conversation behind it, and what of the server's words may pass.

The agent's ids never reach the server and the server's session id never the agent. What the server asks by itself
(sampling, elicitation, roots) is refused here: it would make the agent, or its model, work for the server.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any, Final

from pydantic import JsonValue

from tickover.core.jsonrpc import DENIED, INVALID_PARAMS, INVALID_REQUEST, NO_METHOD, Asked, Id, RpcError
from tickover.gateway.mcp.base import Message, Upstream
from tickover.gateway.refusal import Refusal

VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Versions of the protocol that begin with `initialize`, the newest last."""
MOST_AT_ONCE: Final = 32
"""Requests of one session that are under way."""
MOST_SAID: Final = 10_000
"""Messages of a server that one request may bring, or one stream of what it says unasked."""
MOST_STREAMS: Final = 4
"""Streams of one session by which it hears what the server says unasked."""
MOST_WATCHED: Final = 256
"""Resources of which one session may be told that they changed."""
LONGEST_URI: Final = 4096
_OURS: Final[dict[str, JsonValue]] = {"name": "tickover", "version": "1"}
_UPDATED: Final = "notifications/resources/updated"
_PASSED: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "notifications/progress": ("", ("progressToken", "progress", "total", "message")),
    "notifications/message": ("", ("level", "logger", "data")),
    "notifications/tools/list_changed": ("", ()),
    "notifications/resources/list_changed": ("resources", ()),
    "notifications/prompts/list_changed": ("prompts", ()),
    _UPDATED: ("resources", ("uri",)),
}
"""Notifications of a server that pass, what of the instance's `allow` they need, and the keys of theirs that pass."""

Clean = Callable[[Message], Message]
"""Takes secrets out of a message."""


def read_uri(asked: Asked) -> str:
    """Return whose changes a subscription is of. Raises RpcError."""
    uri = asked.params.get("uri")
    if not isinstance(uri, str) or not 0 < len(uri) <= LONGEST_URI:
        says = f"`uri` is a text of at most {LONGEST_URI} characters"
        raise RpcError(INVALID_PARAMS, "mcp_malformed", says, asked.id)
    return uri


class Session:
    """A conversation with a server. `tell` hears of each method that the server asked for."""

    def __init__(
        self, upstream: Upstream, clean: Clean, tell: Callable[[str], None], allow: Collection[str] = ()
    ) -> None:
        self.name = secrets.token_urlsafe(24)
        self.version = VERSIONS[-1]
        self._upstream = upstream
        self._clean = clean
        self._tell = tell
        self._numbers = itertools.count(1)
        self._open: dict[Id, int] = {}
        self._allow = allow
        self._streams = 0
        self._watched: set[str] = set()

    async def begin(self, version: JsonValue) -> dict[str, JsonValue]:
        """Shake hands; return what the server said of itself. Raises Refusal; then the conversation is over."""
        try:
            return await self._shake_hands(version)
        except BaseException:
            await self._upstream.close()
            raise

    async def _shake_hands(self, version: JsonValue) -> dict[str, JsonValue]:
        asked = version if isinstance(version, str) and version in VERSIONS else VERSIONS[-1]
        params: dict[str, JsonValue] = {"protocolVersion": asked, "capabilities": {}, "clientInfo": {**_OURS}}
        result = await self.result("initialize", params)
        spoken = result.get("protocolVersion")
        if spoken not in VERSIONS:
            raise Refusal(502, "mcp_version", f"the server speaks {str(spoken)[:40]}, none of {', '.join(VERSIONS)}")
        self.version = str(spoken)
        await self.notify("notifications/initialized", {})
        return result

    def request(self, method: str, params: dict[str, JsonValue]) -> Message:
        """Make a request under the next number."""
        return {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params}

    async def exchange(self, message: Message, id_: Id | None = None) -> AsyncGenerator[Message, None]:
        """Send a request; yield what the agent may hear of it, its answer last. Raises Refusal, RpcError.

        `id_` is the agent's: what is yielded last carries it, and it can be cancelled by it.
        """
        number = message["id"]
        if id_ is not None:
            if id_ in self._open or len(self._open) >= MOST_AT_ONCE:
                says = f"this id is under way, or {MOST_AT_ONCE} requests are"
                raise RpcError(INVALID_REQUEST, "mcp_busy", says, id_)
            assert isinstance(number, int)
            self._open[id_] = number
        try:
            async with aclosing(self._upstream.send(message)) as heard:
                count = 0
                async for each in heard:
                    if "method" not in each and each.get("id") == number:
                        yield self._clean(_answer(each, id_))
                        return
                    count += 1
                    if (passed := await self._heard(each, count)) is not None:
                        yield passed
        finally:
            if id_ is not None:
                self._open.pop(id_, None)
        raise Refusal(502, "truncated", "the server ended before it answered")

    async def listen(self) -> AsyncGenerator[Message, None]:
        """Yield `{}` once the server agrees to it, then what the agent may hear of what the server says unasked.

        Raises Refusal; RpcError as `must_have_room` does.
        """
        self.must_have_room()
        self._streams += 1
        try:
            async with aclosing(self._upstream.listen()) as heard:
                count = -1
                async for each in heard:
                    count += 1
                    if count == 0:
                        yield {}
                    elif (passed := await self._heard(each, count)) is not None:
                        yield passed
        finally:
            self._streams -= 1

    def must_have_room(self) -> None:
        """Raise RpcError where too many listen already."""
        if self._streams >= MOST_STREAMS:
            raise RpcError(INVALID_REQUEST, "mcp_busy", f"{MOST_STREAMS} streams of this session are open")

    def watch(self, uri: str, id_: Id | None) -> None:
        """Let changes of a resource pass from now on. Raises RpcError."""
        if uri not in self._watched and len(self._watched) >= MOST_WATCHED:
            raise RpcError(DENIED, "mcp_busy", f"a session is told of at most {MOST_WATCHED} resources", id_)
        self._watched.add(uri)

    def unwatch(self, uri: str) -> None:
        """Let them pass no more."""
        self._watched.discard(uri)

    async def result(self, method: str, params: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """Ask something for ourselves. Raises Refusal."""
        answer: Message = {}
        async with aclosing(self.exchange(self.request(method, params))) as heard:
            async for each in heard:
                answer = each
        found = answer.get("result")
        if not isinstance(found, dict):
            raise Refusal(502, "mcp_refused", f"the server does not answer {method}: {str(answer.get('error'))[:200]}")
        return found

    async def notify(self, method: str, params: dict[str, JsonValue]) -> None:
        """Say something that is not answered. Raises Refusal."""
        await self._say({"jsonrpc": "2.0", "method": method, **({"params": params} if params else {})})

    async def cancel(self, id_: JsonValue, reason: JsonValue) -> None:
        """Tell the server that the agent does not want an answer any more. Raises Refusal."""
        number = self._open.get(id_) if isinstance(id_, str | int) else None
        if number is not None:
            said: dict[str, JsonValue] = {"reason": reason[:500]} if isinstance(reason, str) else {}
            await self.notify("notifications/cancelled", {"requestId": number, **said})

    async def close(self) -> None:
        await self._upstream.close()

    async def _heard(self, message: Message, count: int) -> Message | None:
        """Return what the agent may hear of something that is no answer. Raises Refusal where it is too much."""
        if count > MOST_SAID:
            raise Refusal(502, "mcp_too_many", f"the server said more than {MOST_SAID} things at once")
        if "id" in message:
            await self._refuse(message)
            return None
        passed = self._notification(message)
        return None if passed is None else self._clean(passed)

    def _notification(self, message: Message) -> Message | None:
        method, params = message.get("method"), message.get("params")
        needs, keys = _PASSED.get(method, ("nothing", ())) if isinstance(method, str) else ("nothing", ())
        if needs and needs not in self._allow:
            return None
        given = params if isinstance(params, dict) else {}
        if method == _UPDATED and not self._watches(given.get("uri")):
            return None
        kept: dict[str, JsonValue] = {key: given[key] for key in keys if key in given}
        return {"jsonrpc": "2.0", "method": method, **({"params": kept} if kept else {})}

    def _watches(self, uri: JsonValue) -> bool:
        """Say whether this is a resource that was asked for, or one below it."""
        if not isinstance(uri, str) or len(uri) > LONGEST_URI:
            return False
        return any(uri == each or uri.startswith((f"{each}/", f"{each}#", f"{each}?")) for each in self._watched)

    async def _refuse(self, message: Message) -> None:
        """Answer what the server asks by itself."""
        method, id_ = message.get("method"), message["id"]
        if method == "ping":
            await self._say({"jsonrpc": "2.0", "id": id_, "result": {}})
        elif isinstance(method, str):
            self._tell(method)
            error: dict[str, JsonValue] = {"code": NO_METHOD, "message": "this client does not do that"}
            await self._say({"jsonrpc": "2.0", "id": id_, "error": error})

    async def _say(self, message: Message) -> None:
        async with aclosing(self._upstream.send(message)) as heard:
            async for _ in heard:
                pass


def _answer(message: Message, id_: Id | None) -> Message:
    """Return an answer anew, with nothing in it that is none of an answer's."""
    if "error" not in message:
        result = message.get("result")
        return {"jsonrpc": "2.0", "id": id_, "result": result if isinstance(result, dict) else {}}
    error: Any = message["error"]
    error = error if isinstance(error, dict) else {}
    code = error.get("code")
    kept: dict[str, JsonValue] = {
        "code": code if isinstance(code, int) else -32603,
        "message": str(error.get("message", "")),
    }
    return {"jsonrpc": "2.0", "id": id_, "error": kept | ({"data": error["data"]} if "data" in error else {})}
