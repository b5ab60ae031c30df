"""An ASGI application on a socket, in the loop that runs already, and its end in order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, Self

import uvicorn

from tickover.core.errors import UsageError

MOST_CONNECTIONS: Final = 2000
"""Beyond it a caller gets 503 at once."""
_KEEP_ALIVE: Final = 30  # seconds an idle connection is kept
_BACKLOG: Final = 512


class Listener:
    """Serve from `__aenter__` to `__aexit__`. Signals are the caller's."""

    def __init__(self, app: Any, *, host: str, port: int, finish: Callable[[], None]) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._finish = finish
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._socket = _listen(self._host, self._port)
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve([self._socket]), name="http")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({self._task, up}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            self._task.result()
            raise RuntimeError("the HTTP server ended while it started")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(5)

    async def stop(self, seconds: float) -> None:
        """Accept nothing more, let requests finish for that long, then cut off what is left."""
        if self._task is None or self._server is None:
            return
        self._finish()
        self._server.config.timeout_graceful_shutdown = max(1, int(seconds))
        self._server.should_exit = True
        await self._task
        self._task = None
        if self._socket is not None:
            self._socket.close()

    async def ended(self) -> None:
        """Return only if the server ended by itself."""
        assert self._task is not None
        await asyncio.shield(self._task)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise RuntimeError("the application could not start; the log says why") from None
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    """Bind and listen. Raises UsageError where nothing can."""
    try:
        [family, kind, protocol, _, address] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        return listener
    except OSError as error:
        text = f"cannot listen on {host} port {port}: {error.strerror or error}"
        raise UsageError("server.address", text, hint="choose another with --host and --port") from None
