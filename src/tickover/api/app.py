"""The ASGI application of one server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tickover.api import access, deliveries, fire, owner, routines, runs, system
from tickover.api.base import Desk
from tickover.api.guard import Guard, Log
from tickover.api.metrics import Metrics
from tickover.api.openapi import describe
from tickover.api.operation import Operation
from tickover.api.stream import Followers
from tickover.core.errors import NotFoundError, UsageError

HOOKS: Final = "/hooks"
THREADS: Final = 16
"""Calls of the desk at a time; SQLite does them one after the other."""


class Api:
    """The application, and what ends it in order: `asgi` is given to the server, then `drain`, then `finish`."""

    def __init__(
        self, desk: Desk, *, log: Log, base_url: str = "", hooks: ASGIApp | None = None, web: ASGIApp | None = None
    ) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")
        self.followers = Followers(desk.wait)
        self.metrics = Metrics()
        self.operations = table(self.metrics)
        guard = Guard(
            desk, threads=self._threads, followers=self.followers, metrics=self.metrics, log=log, base_url=base_url
        )
        mounted = [] if web is None else [Mount("/", web)]
        self._hooks = hooks
        self._rest = Starlette(
            routes=[*_routes(guard, self.operations), *mounted],
            exception_handlers={404: _not_found, 405: _wrong_method, HTTPException: _http},
            lifespan=self._lifespan,
        )

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve. A hook's delivery goes straight to its door: it is the one path that must be fast."""
        if self._hooks is not None and scope["type"] == "http" and scope["path"].startswith(f"{HOOKS}/"):
            await self._hooks({**scope, "root_path": scope.get("root_path", "") + HOOKS}, receive, send)
        else:
            await self._rest(scope, receive, send)

    def drain(self) -> None:
        """Take no new run, and say that work is to go elsewhere; all else goes on: runs are followed to their end."""
        self.followers.drain()

    def finish(self) -> None:
        """Answer whoever waits, end streams."""
        self.followers.close()

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        self.close()

    def close(self) -> None:
        """Let go of the threads."""
        self.followers.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def table(metrics: Metrics | None = None) -> tuple[Operation, ...]:
    """Return every operation, `/api/v1/openapi.json` among them."""
    known = (
        fire.OPERATION, *routines.OPERATIONS, *runs.OPERATIONS, *access.OPERATIONS,
        *owner.OPERATIONS, *deliveries.OPERATIONS, *system.OPERATIONS,
    )  # fmt: skip
    metrics = metrics or Metrics()
    text = json.dumps(describe([*known, *system.operations(metrics, b"")])).encode()
    return (*known, *system.operations(metrics, text))


def _routes(guard: Guard, operations: Sequence[Operation]) -> list[BaseRoute]:
    return [
        Route(
            each.path,
            guard.endpoint(each, told=fire.told) if each is fire.OPERATION else guard.endpoint(each),
            methods=[each.method],
        )
        for each in operations
    ]


def _not_found(request: Request, error: Exception) -> Response:
    del error
    return _plain(request, 404, NotFoundError("api.not_found", "there is nothing here", hint="/api/v1/openapi.json"))


def _wrong_method(request: Request, error: Exception) -> Response:
    response = _plain(request, 405, UsageError("api.method", "this path does not take that method"))
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    return _plain(request, status, UsageError("api.http", "the request cannot be served"))


def _plain(request: Request, status: int, error: UsageError | NotFoundError) -> Response:
    if request.url.path.startswith("/v1/"):
        kind = "not_found_error" if status == 404 else "invalid_request_error"
        return JSONResponse({"type": "error", "error": {"type": kind, "message": error.message}}, status)
    return JSONResponse({"error": error.as_dict()}, status)
