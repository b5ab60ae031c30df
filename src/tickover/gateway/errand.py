"""One request of the gateway's own, over a session's connections: what a credential needs before it can be put in."""

from __future__ import annotations

from typing import Final

from tickover.core.github_app import AppForm
from tickover.core.network import Decision, Route
from tickover.gateway.app_tokens import Said
from tickover.gateway.fence import Fence
from tickover.gateway.http1 import Data, End, Response
from tickover.gateway.patience import within
from tickover.gateway.pool import Pool, Upstream
from tickover.gateway.refusal import Refusal

ANSWER_S: Final = 30.0
"""Seconds for the whole of it."""
MOST: Final = 256 * 1024
"""Bytes of an answer that are read."""


class ApiErrands:
    """Asks the API of a GitHub App: the port `Ask` of app_tokens. It ends with the session's lease, as all else."""

    def __init__(self, form: AppForm, pool: Pool, fence: Fence) -> None:
        host, port = form.place
        self._decision = Decision(Route.INSPECT, "listed", "", host, port, "github-app", private=form.private)
        self._pool = pool
        self._fence = fence

    async def __call__(self, method: str, path: str, bearer: bytes, body: bytes = b"") -> Said:
        """Ask. Raises Refusal where no whole answer comes."""
        async with within(ANSWER_S, 504, "credential", "GitHub's API did not answer"):
            upstream = await self._pool.take(self._decision, "https", writes=True, fresh=True)
            try:
                if not self._fence.passes():
                    raise Refusal(503, self._fence.reason or "cut", "the run's traffic was cut off")
                upstream.reader.expect(method)
                upstream.channel.write(self._head(method, path, bearer, body) + body)
                return await _read(upstream)
            finally:
                upstream.channel.close()

    def _head(self, method: str, path: str, bearer: bytes, body: bytes) -> bytes:
        host, port = self._decision.host, self._decision.port
        lines = [
            f"{method} {path} HTTP/1.1",
            f"host: {host}" if port == 443 else f"host: {host}:{port}",
            "accept: application/vnd.github+json",
            "accept-encoding: identity",
            f"authorization: Bearer {bearer.decode('ascii')}",
            "connection: close",
            "user-agent: tickover",
            "x-github-api-version: 2022-11-28",
        ]
        if body:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _read(upstream: Upstream) -> Said:
    status, pieces, size = 0, [], 0
    while True:
        event = upstream.reader.next_event()
        if isinstance(event, Response):
            status = event.status
        elif isinstance(event, Data):
            pieces.append(event.data)
            size += len(event.data)
            if size > MOST:
                raise Refusal(502, "credential", f"GitHub's API answered with more than {MOST} bytes")
        elif isinstance(event, End):
            return Said(status, b"".join(pieces))
        elif event is None:
            data = await upstream.channel.read()
            if not data and not status:
                raise Refusal(502, "credential", "GitHub's API closed the connection without an answer")
            upstream.reader.receive(data)
