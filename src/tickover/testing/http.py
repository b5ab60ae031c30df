"""An ASGI application on a loopback port for the time of a test, and a server that only keeps what it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from tickover.api.serve import Listener

__all__ = ["Double", "Sent", "double", "served"]


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve it in this loop, and yield its address, without a slash at the end."""
    async with Listener(app, host="127.0.0.1", port=0, finish=lambda: None) as listener:
        yield listener.url


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Double:
    """A server that keeps what it is sent, and answers what `answer` says: status, headers, body."""

    answer: Callable[[Sent], tuple[int, dict[str, str], bytes]] = lambda _: (200, {}, b"ok")
    url: str = ""
    sent: list[Sent] = field(default_factory=list)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = Sent(scope["method"], scope["path"], headers, body)
        self.sent.append(request)
        status, more, content = self.answer(request)
        pairs = [(name.encode(), value.encode()) for name, value in more.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": content})


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        kind = message["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


@contextlib.asynccontextmanager
async def double(answer: Callable[[Sent], tuple[int, dict[str, str], bytes]] | None = None) -> AsyncIterator[Double]:
    """Serve a double of somebody else's server."""
    made = Double(answer) if answer else Double()
    async with served(made) as url:
        made.url = url
        yield made
