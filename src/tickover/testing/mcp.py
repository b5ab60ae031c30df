"""A double of an MCP server over streamable HTTP: tools that do what a test says, and what it was asked.

It answers as https://modelcontextprotocol.io/specification/2025-11-25 has it, by a document or by events, and can be
made to misbehave: `says` replaces the answer to a method, `asks` has it ask its client something first.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tickover.testing.upstream import Seen, Talk

Does = Callable[[dict[str, Any]], Any]


@dataclass
class DoubleTool:
    """A tool. `does` takes the arguments; what it returns is the result's text, a map its structured content."""

    name: str
    does: Does = lambda _arguments: "done"
    reads: bool = False
    description: str = "A tool."
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})

    def described(self) -> dict[str, Any]:
        annotations = {"annotations": {"readOnlyHint": True}} if self.reads else {}
        return {
            "name": self.name, "description": self.description, "inputSchema": dict(self.schema), **annotations
        }  # fmt: skip


@dataclass
class McpDouble:
    """A handler of `tickover.testing.upstream`. A `token` is asked for; `streams`: it answers by events."""

    tools: list[DoubleTool] = field(default_factory=list)
    token: str = ""
    streams: bool = False
    page: int = 100
    version: str = "2025-11-25"
    capabilities: Mapping[str, Any] = field(default_factory=lambda: {"tools": {}})
    says: dict[str, Any] = field(default_factory=dict)
    """Method -> the result (or with `error` the error) that it answers, whatever is asked."""
    raw: dict[str, bytes] = field(default_factory=dict)
    """Method -> the whole body that it answers."""
    status: dict[str, str] = field(default_factory=dict)
    """Method -> the HTTP status that it answers, and nothing else."""
    first: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Method -> the messages that it says before its answer, if it streams."""
    unasked: asyncio.Queue[bytes | None] | None = None
    """What it says unasked, by events to whoever listens; None ends a stream. Without a queue it answers 405."""
    heard: list[dict[str, Any]] = field(default_factory=list)
    """Every message, as it came."""
    tokens: list[str | None] = field(default_factory=list)
    ended: int = 0
    _sessions: int = 0

    def calls(self) -> list[tuple[str, Any]]:
        """Return the calls of tools: name and arguments."""
        asked = [each["params"] for each in self.heard if each.get("method") == "tools/call"]
        return [(each["name"], each.get("arguments")) for each in asked]

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        self.tokens.append(seen.header("authorization"))
        if self.token and seen.header("authorization") != f"Bearer {self.token}":
            await talk.answer(b"", status="401 Unauthorized")
            return
        if seen.method == "DELETE":
            self.ended += 1
            await talk.answer(b"")
            return
        if seen.method == "GET":
            await self._tell(seen, talk)
            return
        message = json.loads(seen.body)
        self.heard.append(message)
        method = message.get("method", "")
        if method != "initialize" and seen.header("mcp-session-id") not in self._names():
            await talk.answer(b"", status="404 Not Found")
        elif method in self.status:
            await talk.answer(b"", status=self.status[method])
        elif "id" not in message or not method:
            await talk.answer(b"", status="202 Accepted")
        elif method in self.raw:
            await talk.answer(self.raw[method], headers=(("content-type", "application/json"),))
        else:
            await self._answer(message, talk)

    def say(self, *messages: Mapping[str, Any]) -> None:
        """Say something unasked."""
        assert self.unasked is not None
        for each in messages:
            self.unasked.put_nowait(json.dumps(dict(each)).encode())

    async def _tell(self, seen: Seen, talk: Talk) -> None:
        if self.unasked is None:
            await talk.answer(b"", status="405 Method Not Allowed")
        elif seen.header("mcp-session-id") not in self._names():
            await talk.answer(b"", status="404 Not Found")
        else:
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
            await talk.write(head + b": hello\n\n")
            while (said := await self.unasked.get()) is not None:
                await talk.write(b"id: 7\ndata: " + said + b"\n\n")
            talk.writer.close()

    def _names(self) -> list[str]:
        return [f"session-of-the-server-{number}" for number in range(1, self._sessions + 1)]

    async def _answer(self, message: dict[str, Any], talk: Talk) -> None:
        method = message["method"]
        headers: tuple[tuple[str, str], ...] = ()
        if method == "initialize":
            self._sessions += 1
            headers = (("mcp-session-id", self._names()[-1]),)
        answer = {"jsonrpc": "2.0", "id": message["id"], **self._result(method, message.get("params", {}))}
        if self.streams:
            parts = [*self.first.get(method, ()), answer]
            body = b"".join(b"event: message\ndata: " + json.dumps(part).encode() + b"\n\n" for part in parts)
            await talk.answer(body, headers=(("content-type", "text/event-stream"), *headers))
        else:
            await talk.answer(json.dumps(answer).encode(), headers=(("content-type", "application/json"), *headers))

    def _result(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method in self.says:
            said = self.says[method]
            return said if "error" in said else {"result": said}
        if method == "initialize":
            info = {"name": "double", "version": "1"}
            return {
                "result": {"protocolVersion": self.version, "capabilities": {**self.capabilities}, "serverInfo": info}
            }
        if method == "tools/list":
            begin = int(params.get("cursor", 0))
            page = [each.described() for each in self.tools[begin : begin + self.page]]
            more = {"nextCursor": str(begin + self.page)} if begin + self.page < len(self.tools) else {}
            return {"result": {"tools": page, **more}}
        if method == "tools/call":
            return self._call(params)
        if method in {"resources/subscribe", "resources/unsubscribe"}:
            return {"result": {}}
        return {"error": {"code": -32601, "message": f"no method {method}"}}

    def _call(self, params: dict[str, Any]) -> dict[str, Any]:
        tool = next((each for each in self.tools if each.name == params["name"]), None)
        if tool is None:
            return {"error": {"code": -32602, "message": f"no tool {params['name']}"}}
        try:
            done = tool.does(params.get("arguments", {}))
        except ToolFailure as failure:
            return {"result": {"content": [{"type": "text", "text": str(failure)}], "isError": True}}
        if isinstance(done, dict):
            text = json.dumps(done)
            return {"result": {"content": [{"type": "text", "text": text}], "structuredContent": done}}
        return {"result": {"content": [{"type": "text", "text": str(done)}]}}


class ToolFailure(Exception):  # noqa: N818 - the tool's own
    """A tool says that it could not do it."""
