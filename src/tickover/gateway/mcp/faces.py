"""The MCP servers of one sandbox at `http://tickover.internal/mcp/NAME`, as streamable HTTP wants it.

    POST    one message; a request is answered by one JSON document, or by events where the server says something first
    GET     what the server says unasked, as events; 405 where it says nothing     DELETE  ends the session

Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports. Of the agent's header fields none is
forwarded. What is refused is a JSON-RPC error with `x-tickover-deny`, and told as a denial.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress

from tickover.core.host import INTERNAL
from tickover.core.jsonrpc import DENIED, INTERNAL_ERROR, INVALID_REQUEST, Answered, Asked, RpcError, read_message
from tickover.core.mcp import PATH
from tickover.core.network import INTERNAL_PORT
from tickover.gateway.base import Denial
from tickover.gateway.fields import Fields
from tickover.gateway.internal import InternalAnswer, InternalRequest
from tickover.gateway.mcp.base import Message, Rejected, written
from tickover.gateway.mcp.face import Face
from tickover.gateway.mcp.session import VERSIONS, Session
from tickover.gateway.refusal import Refusal

_JSON = re.compile(r'application/json(?:\s*;\s*charset\s*=\s*"?utf-?8"?)?', re.IGNORECASE)
_SESSION, _VERSION = "mcp-session-id", "mcp-protocol-version"
_EVENTS = Fields([("content-type", "text/event-stream")])
_CONFLICT = 409
_STATUS = {"mcp_session": 404, "mcp_busy": _CONFLICT}


class Faces:
    """A handler of `gateway/internal.py`."""

    def __init__(self, faces: Mapping[str, Face]) -> None:
        self._faces = faces

    async def __call__(self, asked: InternalRequest) -> InternalAnswer:
        face = self._faces.get(asked.path.removeprefix(PATH))
        if face is None or asked.query:
            raise Refusal(404, "mcp_no_server", f"no MCP server of this run answers at {asked.path[:80]}")
        try:
            if asked.method == "POST":
                return await self._post(face, asked)
            session = self._session(face, asked)
            if asked.method == "GET":
                return await self._get(face, session, asked)
        except RpcError as error:
            return _error(face.denied(error, asked.method), _STATUS.get(error.reason, 400))
        if asked.method == "DELETE":
            await face.end(session)
            return InternalAnswer(200)
        return _no_method("GET, POST, DELETE")

    async def _get(self, face: Face, session: Session, asked: InternalRequest) -> InternalAnswer:
        """Begin a stream. A server without one is no denial: every client tries."""
        _agreed(asked)
        if not _streams(asked.fields):
            return InternalAnswer(406)
        heard = face.listen(session)
        try:
            await anext(heard)
        except StopAsyncIteration:
            return _no_method("POST, DELETE")
        except Rejected as refusal:
            return InternalAnswer(409) if refusal.code == _CONFLICT else _no_method("POST, DELETE")
        except Refusal as refusal:
            error = RpcError(INTERNAL_ERROR, refusal.reason, refusal.detail or refusal.reason)
            return _error(error, refusal.status)
        return InternalAnswer(200, _unasked(heard), _EVENTS)

    async def _post(self, face: Face, asked: InternalRequest) -> InternalAnswer:
        """Take one message. Raises RpcError for one that is none."""
        kind, coded = asked.fields.all("content-type"), asked.fields.tokens("content-encoding")
        if len(kind) != 1 or not _JSON.fullmatch(kind[0].strip()) or any(each != "identity" for each in coded):
            raise RpcError(INVALID_REQUEST, "mcp_encoding", "a message is application/json in UTF-8, not coded")
        said = read_message(asked.body)
        if isinstance(said, Asked) and said.method == "initialize" and said.id is not None:
            if _SESSION in asked.fields:
                says = "`initialize` begins a session, and this is one"
                raise RpcError(INVALID_REQUEST, "mcp_malformed", says, said.id)
            try:
                session, answer = await face.initialize(said)
            except Refusal as refusal:
                return _error(RpcError(INTERNAL_ERROR, refusal.reason, refusal.detail or refusal.reason, said.id), 200)
            return _document(answer, Fields([(_SESSION, session.name)]))
        session = self._session(face, asked)
        _agreed(asked)
        if isinstance(said, Answered):
            return InternalAnswer(202)  # to nothing: the server's questions are answered here
        if said.id is None:
            with suppress(Refusal):  # nobody waits for an answer
                await face.hear(session, said)
            return InternalAnswer(202)
        return await _answered(face.answer(session, said), streams=_streams(asked.fields))

    def _session(self, face: Face, asked: InternalRequest) -> Session:
        names = asked.fields.all(_SESSION)
        session = face.session(names[0]) if len(names) == 1 else None
        if session is None:
            raise RpcError(INVALID_REQUEST, "mcp_session" if names else "mcp_no_session", "there is no such session")
        return session


async def _answered(heard: AsyncGenerator[Message, None], *, streams: bool) -> InternalAnswer:
    """Answer by a document where the answer comes first, else by events."""
    try:
        first = await anext(heard)
        while "method" in first and not streams:
            first = await anext(heard)
    except RpcError as error:
        await heard.aclose()
        return _error(error, 200)
    except BaseException:
        await heard.aclose()
        raise
    if "method" in first:
        return InternalAnswer(200, _events(first, heard), _EVENTS)
    await heard.aclose()
    return _document(first)


async def _events(first: Message, heard: AsyncGenerator[Message, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(heard):
        yield _event(first)
        try:
            async for each in heard:
                yield _event(each)
        except RpcError as error:
            yield _event(error.answer())


async def _unasked(heard: AsyncGenerator[Message, None]) -> AsyncGenerator[bytes, None]:
    """Write events; a stream that breaks off just ends, and its client may begin another one."""
    async with aclosing(heard):
        with suppress(Refusal):
            async for each in heard:
                yield _event(each)


def _agreed(asked: InternalRequest) -> None:
    """Hold a message to a version that we speak; to the server it goes in the one agreed upon. Raises RpcError."""
    versions = asked.fields.all(_VERSION)
    if len(versions) > 1 or not set(versions) <= set(VERSIONS):
        raise RpcError(INVALID_REQUEST, "mcp_version", f"a message is of one of the versions {', '.join(VERSIONS)}")


def _no_method(allowed: str) -> InternalAnswer:
    return InternalAnswer(405, fields=Fields([("allow", allowed)]))


def _event(message: Message) -> bytes:
    return b"event: message\ndata: " + written(message) + b"\n\n"


def _document(message: Message, more: Fields = Fields()) -> InternalAnswer:  # noqa: B008 - it never changes
    return InternalAnswer(200, written(message), Fields([("content-type", "application/json"), *more]))


def _error(error: RpcError, status: int) -> InternalAnswer:
    """Return an error as JSON-RPC has it. One that is a decision of ours says so in a header, too."""
    fields = [("content-type", "application/json")]
    if error.code == DENIED or status != 200:
        fields.append(("x-tickover-deny", error.reason))
    return InternalAnswer(status, written(error.answer()), Fields(fields))


def _streams(fields: Fields) -> bool:
    return any(each.partition(";")[0].strip() == "text/event-stream" for each in fields.tokens("accept"))


def denial_of(server: str, code: str, says: str, method: str, below: str) -> Denial:
    """Return what is told of a refused message."""
    return Denial(INTERNAL, INTERNAL_PORT, 403, code, says, method, f"{PATH}{server}{below}")
