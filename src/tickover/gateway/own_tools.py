"""The run's own tools at `http://tickover.internal/tools`, as streamable HTTP wants it: a message in, a document out.

    POST  one message; there are no sessions, because nothing is kept here      GET, DELETE  405

Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports. Who works on the run does what a call
asks. Nothing of it leaves the machine, so there is no receipt, and nothing that a check could take for an effect.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pydantic import JsonValue

from tickover.core.jsonrpc import INVALID_PARAMS, NO_METHOD, Answered, Asked, RpcError
from tickover.core.own_tools import PLACE, SERVER, described
from tickover.core.text import one_line
from tickover.gateway.fields import Fields
from tickover.gateway.internal import InternalAnswer, InternalRequest
from tickover.gateway.mcp.base import Message
from tickover.gateway.mcp.faces import document, failure, read_post
from tickover.gateway.mcp.session import VERSIONS
from tickover.gateway.refusal import Refusal

Use: TypeAlias = Callable[[str, dict[str, JsonValue]], Awaitable[tuple[bool, str]]]
"""Does what a call of a tool asks; returns whether it could, and what the agent reads."""


class OwnTools:
    """A handler of `gateway/internal.py`."""

    def __init__(self, names: tuple[str, ...], use: Use) -> None:
        self._names = names
        self._use = use

    async def __call__(self, request: InternalRequest) -> InternalAnswer:
        if request.path != PLACE or request.query or not self._names:
            raise Refusal(404, "internal_path", f"the tools of this run answer at {PLACE}, if it has some")
        if request.method != "POST":
            return InternalAnswer(405, fields=Fields([("allow", "POST")]))  # no denial: every client tries to GET
        try:
            said = read_post(request)
            if isinstance(said, Answered) or said.id is None:
                return InternalAnswer(202)
            return document({"jsonrpc": "2.0", "id": said.id, "result": await self._result(said)})
        except RpcError as error:
            return failure(error, 200 if error.id is not None else 400)

    async def _result(self, asked: Asked) -> Message:
        """Return the result of a request. Raises RpcError."""
        match asked.method:
            case "initialize":
                wanted = asked.params.get("protocolVersion")
                version = wanted if isinstance(wanted, str) and wanted in VERSIONS else VERSIONS[-1]
                about: dict[str, JsonValue] = {"name": SERVER, "version": "1"}
                return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
            case "ping":
                return {}
            case "tools/list":
                return {"tools": [described(name) for name in self._names]}
            case "tools/call":
                return await self._call(asked)
        raise RpcError(NO_METHOD, "mcp_method", f"{one_line(asked.method, 60)} is no method of these tools", asked.id)

    async def _call(self, asked: Asked) -> Message:
        tool, arguments = asked.params.get("name"), asked.params.get("arguments", {})
        if tool not in self._names or not isinstance(tool, str) or not isinstance(arguments, dict):
            says = f"a call has `arguments` and a `name` out of {', '.join(self._names)}"
            raise RpcError(INVALID_PARAMS, "mcp_no_tool", says, asked.id)
        well, says = await self._use(tool, arguments)
        content: list[JsonValue] = [{"type": "text", "text": says}]
        return {"content": content, "isError": not well}
