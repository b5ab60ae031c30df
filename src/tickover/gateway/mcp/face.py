"""The face of one MCP server: what an agent asks of `http://tickover.internal/mcp/NAME`, judged message by message.

Every message is read in one way (core/jsonrpc.py), answered here or judged, and written anew for the server. Of the
server's tools the agent is told those that it may call; each call has a receipt, written before it leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from tickover.core.effect import Wanted
from tickover.core.enforcement import READ, Allow, Deny
from tickover.core.jsonrpc import DENIED, INTERNAL_ERROR, INVALID_PARAMS, NO_METHOD, RpcError
from tickover.core.jsonrpc import Asked as Rpc
from tickover.core.mcp import LIST, METHOD, SCHEME, McpServer, Pins, judge_call, read_tools
from tickover.core.receipt import Chosen, choose
from tickover.core.text import one_line
from tickover.gateway.asked import Asked
from tickover.gateway.calls import Call, Calls
from tickover.gateway.fields import Fields
from tickover.gateway.mcp.base import SUBSCRIBE, UNSUBSCRIBE, Connect, Message, NotSent, Rejected, written
from tickover.gateway.mcp.session import Clean, Session, read_uri
from tickover.gateway.refusal import Refusal

MOST_SESSIONS: Final = 16
"""Sessions that one agent may have with a server; the oldest ends."""
_MOST_TOOLS, _MOST_PAGES, _MOST_LISTED = 1000, 50, 8 << 20
STREAM: Final = "stream"
"""What a receipt names what a server says unasked: `READ mcp://NAME/stream`."""
RESULT, TOOL_ERROR, RPC_ERROR = 200, 500, 400
"""What a receipt has as status: a result, one that the tool calls an error, an error of the protocol."""

_FEATURES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "resources/list": ("resources", ("cursor",)),
    "resources/templates/list": ("resources", ("cursor",)),
    "resources/read": ("resources", ("uri",)),
    SUBSCRIBE: ("resources", ("uri",)),
    UNSUBSCRIBE: ("resources", ("uri",)),
    "prompts/list": ("prompts", ("cursor",)),
    "prompts/get": ("prompts", ("name", "arguments")),
    "completion/complete": ("completions", ("ref", "argument", "context")),
    "logging/setLevel": ("logging", ("level",)),
}
"""Methods besides tools, what of the instance's `allow` lets them through, and their parameters."""
_LISTS: Final = frozenset({"server/discover", *(each for each in _FEATURES if each.endswith("/list"))})
"""Methods that clients try without being told of them: no denial is worth telling."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a face works with: receipts, secrets to take out, what receipts keep, who hears of what was denied."""

    calls: Calls
    redact: Callable[[str], str]
    wanted: Wanted
    tell: Callable[[str, str, str, str], None]
    """Of a denial: its code, what it says, the method, and what stands behind the server's name."""


class Face:
    """One server, as one sandbox sees it. The tools are pinned for all of its sessions."""

    def __init__(self, server: McpServer, connect: Connect, means: Means) -> None:
        self.server = server
        self._connect = connect
        self._means = means
        self._sessions: dict[str, Session] = {}
        self._pins = Pins()
        self._changed: set[str] = set()
        self._listing = asyncio.Lock()
        self._clean: Clean = cleaner(means.redact)

    def session(self, name: str) -> Session | None:
        return self._sessions.get(name)

    async def initialize(self, asked: Rpc) -> tuple[Session, Message]:
        """Begin a session; return it and the answer. Raises Refusal."""
        session = Session(self._connect(), self._clean, self._server_asks, self.server.allow)
        result = await session.begin(asked.params.get("protocolVersion"))
        while len(self._sessions) >= MOST_SESSIONS:
            await self._sessions.pop(next(iter(self._sessions))).close()
        self._sessions[session.name] = session
        can = result.get("capabilities")
        can = can if isinstance(can, dict) else {}
        able: dict[str, JsonValue] = {"tools": {"listChanged": True}} if "tools" in can else {}
        able |= {name: _flags(can[name]) for name in self.server.allow if name in can}
        told: dict[str, JsonValue] = {"protocolVersion": session.version, "capabilities": able}
        told["serverInfo"] = _info(result.get("serverInfo"), self.server.name)
        if isinstance(result.get("instructions"), str):
            told["instructions"] = result["instructions"]
        return session, {"jsonrpc": "2.0", "id": asked.id, "result": told}

    async def end(self, session: Session) -> None:
        self._sessions.pop(session.name, None)
        await session.close()

    async def hear(self, session: Session, asked: Rpc) -> None:
        """Take a notification of the agent's."""
        if asked.method == "notifications/cancelled":
            await session.cancel(asked.params.get("requestId"), asked.params.get("reason"))

    async def answer(self, session: Session, asked: Rpc) -> AsyncGenerator[Message, None]:
        """Yield what the agent hears of a request, its answer last. Raises RpcError, which is an answer, too."""
        method = asked.method
        try:
            if method == "ping":
                yield _result(asked, {})
            elif method == "tools/list":
                yield _result(asked, {"tools": await self._told(session)})
            elif method == "tools/call" or method in _FEATURES:
                special = {"tools/call": self._call, SUBSCRIBE: self._watch, UNSUBSCRIBE: self._watch}
                carried = special.get(method, self._read)
                async with aclosing(carried(session, asked)) as heard:
                    async for each in heard:
                        yield each
            else:
                raise self._no_method(asked)
        except Refusal as refusal:
            raise RpcError(INTERNAL_ERROR, refusal.reason, refusal.detail or refusal.reason, asked.id) from refusal

    async def listen(self, session: Session) -> AsyncGenerator[Message, None]:
        """Yield `{}` once the server agrees, then what it says unasked, until it ends. Raises Refusal, RpcError."""
        session.must_have_room()  # before a receipt is begun: who asks too often leaves none
        says = f"what {self.server.name} says unasked may be heard"
        call = await self._begin("READ", STREAM, Allow(READ, self.server.credential, None, says), {})
        try:
            call.sent = True
            async with aclosing(session.listen()) as heard:
                async for each in heard:
                    call.status = RESULT
                    if each:
                        call.response.add(written(each))
                    yield each
            call.whole = True
        except (NotSent, RpcError) as refusal:
            call.sent, call.why = False, _why(refusal)
            raise
        except Rejected as refusal:
            call.status, call.whole, call.why = refusal.code, True, _why(refusal)
            raise
        except Refusal as refusal:
            call.why = _why(refusal)
            raise
        finally:
            self._means.calls.end(call)

    def denied(self, error: RpcError, method: str = "POST", below: str = "") -> RpcError:
        """Tell of a denial; return it."""
        self._means.tell(error.reason, error.says, method, below)
        return error

    # Tools.

    async def _told(self, session: Session) -> list[JsonValue]:
        """Return the tools that the agent is told of. A receipt says which: some agents do not tell their model all."""
        allow = Allow(READ, self.server.credential, None, "a server's tools may be listed")
        call = await self._begin(LIST, "tools", allow, {})
        try:
            call.sent = True
            await self._list(session)
            tools = [each for each in self._pins.tools.values() if self._offered(each.name)]
            call.status, call.whole = RESULT, True
            call.response_json = Chosen(value={"tools": [each.name for each in tools]})
        except NotSent as refusal:
            call.sent, call.why = False, _why(refusal)
            raise
        except Refusal as refusal:
            call.why = _why(refusal)
            raise
        finally:
            self._means.calls.end(call)
        return [each.described for each in tools]

    def _offered(self, tool: str) -> bool:
        return self.server.offers(tool, reads=self._pins.tools[tool].reads)

    async def _list(self, session: Session) -> None:
        """Read the whole list and hold it to what was seen first. Raises Refusal."""
        async with self._listing:
            found, cursor, size = [], None, 0
            for _ in range(_MOST_PAGES):
                result = await session.result("tools/list", {} if cursor is None else {"cursor": cursor})
                size += len(written(result))
                found += read_tools(result.get("tools"))
                cursor = result.get("nextCursor")
                if len(found) > _MOST_TOOLS or size > _MOST_LISTED:
                    raise Refusal(502, "mcp_too_many", f"the server lists more than {_MOST_TOOLS} tools, or too much")
                if not isinstance(cursor, str):
                    break
            for name in self._pins.see(found):
                if name not in self._changed:
                    self._changed.add(name)
                    says = f"{self.server.name} describes its tool {name} otherwise than before: it cannot be called"
                    self._means.tell("mcp_tool_changed", says, METHOD, f"/{name}")

    async def _call(self, session: Session, asked: Rpc) -> AsyncGenerator[Message, None]:
        """Carry one call of a tool: judged, receipted, sent."""
        try:
            tool, arguments, params = _call_params(asked)
        except RpcError as error:
            raise self.denied(error, METHOD) from None
        if not self._pins.known:
            await self._list(session)
        allow = self._judge(asked, tool, arguments)
        message = session.request("tools/call", params)
        call = await self._begin(METHOD, tool, allow, arguments)
        async for each in self._carried(session, asked, message, call):
            yield each

    def _judge(self, asked: Rpc, tool: str, arguments: dict[str, JsonValue]) -> Allow:
        name = one_line(tool, 128)
        known = self._pins.tools.get(tool)
        judged: Allow | Deny
        if tool in self._changed:
            says = f"{self.server.name} describes its tool {name} otherwise than before"
            judged = Deny("mcp_tool_changed", says)
        elif known is None and not self.server.names(tool):
            judged = Deny("mcp_no_tool", f"{self.server.name} has no tool {name}")
        else:
            counts, reads = self._means.calls.counts, known is not None and known.reads
            judged = judge_call(self.server, tool, arguments, reads=reads, counts=counts)
        if isinstance(judged, Deny):
            raise self.denied(RpcError(DENIED, judged.code, judged.says, asked.id), METHOD, f"/{name}")
        return judged

    async def _read(self, session: Session, asked: Rpc) -> AsyncGenerator[Message, None]:
        """Carry what reads something else than a tool's list, if the instance allows it."""
        feature, keys = _FEATURES[asked.method]
        if feature not in self.server.allow:
            raise self._no_method(asked)
        params = {key: asked.params[key] for key in keys if key in asked.params}
        allow = Allow(READ, self.server.credential, None, f"this instance allows {feature} of {self.server.name}")
        call = await self._begin("READ", asked.method, allow, {})
        async for each in self._carried(session, asked, session.request(asked.method, params), call):
            yield each

    async def _watch(self, session: Session, asked: Rpc) -> AsyncGenerator[Message, None]:
        """Carry a subscription or the end of one: what the server says of that resource passes, or passes no more."""
        if _FEATURES[asked.method][0] not in self.server.allow:
            raise self._no_method(asked)
        kept = False
        try:
            uri = read_uri(asked)
            if asked.method == SUBSCRIBE:
                session.watch(uri, asked.id)
        except RpcError as error:
            raise self.denied(error) from None
        try:
            async for each in self._read(session, asked):
                kept = asked.method == SUBSCRIBE and "result" in each
                yield each
        finally:
            if not kept:
                session.unwatch(uri)

    # What leaves.

    async def _begin(self, method: str, what: str, allow: Allow, arguments: dict[str, JsonValue]) -> Call:
        paths = self._means.wanted.request
        chosen = choose(arguments, paths, self._means.redact) if paths else None
        asked = Asked(method, SCHEME, self.server.name, 0, f"/{what}", "", Fields(()))
        return await self._means.calls.begin(asked, allow, chosen, ())

    async def _carried(
        self, session: Session, asked: Rpc, message: Message, call: Call
    ) -> AsyncGenerator[Message, None]:
        last: Message | None = None
        try:
            call.request.add(written(message))
            call.sent = True
            async with aclosing(session.exchange(message, asked.id)) as heard:
                async for each in heard:
                    if "method" not in each:
                        last = each
                        break
                    yield each
            self._note(call, last or {})
        except NotSent as refusal:
            call.sent, call.why = False, _why(refusal)
            raise
        except Rejected as refusal:
            call.status, call.whole, call.why = refusal.code, True, _why(refusal)
            raise
        except Refusal as refusal:
            call.why = _why(refusal)
            raise
        finally:
            self._means.calls.end(call)
        if last is not None:
            yield last

    def _note(self, call: Call, answer: Message) -> None:
        """Write down what the answer was."""
        call.whole = True
        call.response.add(written(answer))
        result = answer.get("result")
        if isinstance(result, dict):
            call.status = TOOL_ERROR if result.get("isError") is True else RESULT
            if self._means.wanted.response:
                call.response_json = choose(result, self._means.wanted.response, self._means.redact)
        else:
            call.status = RPC_ERROR

    def _no_method(self, asked: Rpc) -> RpcError:
        error = RpcError(NO_METHOD, "mcp_method", f"{one_line(asked.method, 60)} does not pass here", asked.id)
        return error if asked.method in _LISTS else self.denied(error)

    def _server_asks(self, method: str) -> None:
        says = f"{self.server.name} asked for {one_line(method, 60)}, which no server may"
        self._means.tell("mcp_server_asks", says, "POST", "")


def _call_params(asked: Rpc) -> tuple[str, dict[str, JsonValue], dict[str, JsonValue]]:
    """Read the parameters of a call; return them anew, too. Raises RpcError."""
    params = asked.params
    tool, arguments, meta = params.get("name"), params.get("arguments", {}), params.get("_meta", {})
    if not isinstance(tool, str) or not isinstance(arguments, dict) or not isinstance(meta, dict):
        raise RpcError(INVALID_PARAMS, "mcp_malformed", "`name` is a text, `arguments` is a map", asked.id)
    if more := sorted(set(params) - {"name", "arguments", "_meta"}):
        says = f"a call has `name` and `arguments`, not {one_line(', '.join(more), 60)}"
        raise RpcError(INVALID_PARAMS, "mcp_malformed", says, asked.id)
    token = meta.get("progressToken")
    kept: dict[str, JsonValue] = {"_meta": {"progressToken": token}} if isinstance(token, str | int) else {}
    return tool, arguments, {"name": tool, "arguments": arguments, **kept}


def _result(asked: Rpc, result: dict[str, JsonValue]) -> Message:
    return {"jsonrpc": "2.0", "id": asked.id, "result": result}


def _info(said: JsonValue, name: str) -> dict[str, JsonValue]:
    given = said if isinstance(said, dict) else {}
    kept: dict[str, JsonValue] = {
        key: given[key] for key in ("name", "title", "version") if isinstance(given.get(key), str)
    }
    return {"name": name, "version": "", **kept}


def _flags(said: JsonValue) -> dict[str, JsonValue]:
    """Return what a server says that it can do with a feature."""
    given = said if isinstance(said, dict) else {}
    return {key: True for key in ("subscribe", "listChanged") if given.get(key) is True}


def _why(refusal: Refusal | RpcError) -> str:
    return f"{refusal.reason}: {refusal.says if isinstance(refusal, RpcError) else refusal.detail}"[:500]


def cleaner(redact: Callable[[str], str]) -> Clean:
    """Return what takes secrets out of a message, wherever in it they stand."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, dict):
            return {redact(key): walk(inner) for key, inner in value.items()}
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    def clean(message: Message) -> Message:
        plain: Message = walk(message)
        return plain

    return clean
