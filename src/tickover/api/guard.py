"""Every request goes through here: its number, who calls, whether it may, what became of it."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tickover.api import errors
from tickover.api.base import Desk
from tickover.api.metrics import Metrics
from tickover.api.operation import Call, Operation, parse_json, parse_query, read_body
from tickover.api.stream import Followers
from tickover.core.access import LONGEST, Principal, refuse

_BEARER: Final = re.compile(r"Bearer +(\S+) *", re.IGNORECASE)
_NOBODY: Final = Principal("nobody", ())
_REASONED: Final = frozenset({500})


class Log(Protocol):
    """Where what happened is written; texts in it may be hostile."""

    def info(self, event: str, **fields: Any) -> Any: ...

    def error(self, event: str, **fields: Any) -> Any: ...


class Guard:
    """What all routes of one server share."""

    def __init__(
        self, desk: Desk, *, threads: Executor, followers: Followers, metrics: Metrics, log: Log, base_url: str
    ) -> None:
        self.desk = desk
        self.followers = followers
        self.metrics = metrics
        self.log = log
        self._threads = threads
        self._base_url = base_url

    def endpoint(
        self,
        operation: Operation,
        *,
        told: Callable[[Exception, str], Response] = errors.answer,
        number: Callable[[], str] = lambda: "req_" + secrets.token_hex(12),
    ) -> Callable[[Request], Awaitable[Response]]:
        """Return the ASGI endpoint of an operation; `told` is how it answers errors."""

        async def serve(request: Request) -> Response:
            began, id_ = time.perf_counter(), number()
            call = self._call(operation, request)
            try:
                response = await self._answered(call)
            except Exception as error:
                response = told(error, id_)
                if response.status_code in _REASONED:
                    self.log.error("request.failed", request=id_, operation=operation.name, exc_info=error)  # noqa: TRY400 - a port, not `logging`
            took = time.perf_counter() - began
            self.metrics.answered(operation.name, response.status_code, took)
            self.log.info(
                "request",
                request=id_,
                operation=operation.name,
                status=response.status_code,
                by=call.by,
                origin=call.origin,
                seconds=round(took, 4),
            )
            for name, value in (
                ("request-id", id_),
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
            ):
                response.headers.setdefault(name, value)
            return response

        return serve

    def _call(self, operation: Operation, request: Request) -> Call:
        origin = request.client.host if request.client else "unknown"
        base = self._base_url or str(request.base_url).rstrip("/")
        return Call(operation, request, self.desk, self._threads, self.followers, _NOBODY, origin=origin, base_url=base)

    async def _answered(self, call: Call) -> Response:
        operation, request = call.operation, call.request
        principal = None if operation.need == "public" else await self.principal(call)
        routine = call.path("name") if operation.need == "fire" else None
        if refused := refuse(principal, operation.need, routine):
            if principal is not None:
                await self._note(call, str(principal), allowed=False)
            raise refused
        call.principal = principal or _NOBODY
        if operation.query is not None:
            call.query = parse_query(operation.query, request)
        if operation.body is not None or operation.upload is not None:
            call.raw = await read_body(request, operation.max_body)
        if operation.body is not None:
            call.body = parse_json(operation.body, call.raw)
        answer = await operation.handler(call)
        if operation.audit is not None:
            await self._note(call, call.by, allowed=True)
        if isinstance(answer, Response):
            return answer
        body = answer if isinstance(answer, dict) else answer.model_dump(mode="json")  # type: ignore[union-attr]
        return JSONResponse(body)

    async def principal(self, call: Call) -> Principal | None:
        """Return who calls; None without a valid token."""
        header = call.request.headers.get("authorization", "")
        found = _BEARER.fullmatch(header) if len(header) <= LONGEST + 20 else None
        return await call.do(self.desk.access.authenticate, found[1]) if found else None

    async def _note(self, call: Call, who: str, *, allowed: bool) -> None:
        target = "/".join(str(value) for value in call.request.path_params.values())[:200]
        what = call.operation.audit or call.operation.name
        note = self.desk.access.audit.note
        await asyncio.shield(call.do(note, who=who, what=what, target=target, origin=call.origin, allowed=allowed))
