"""The door: `POST /hooks/ROUTINE/TRIGGER[/TOKEN]`. Verify, store, then answer; everything else comes later.

A raw ASGI application without a framework: it is the one hot path of the server. It can be mounted anywhere. What is
refused is counted by reason and minute; it stores no body, and its answer names only the reason.

| status | what |
|---|---|
| 200 | durable, or was before; or the answer to a handshake |
| 401 | no proof of the sender |
| 404 | no such hook |
| 405 | not a POST |
| 408 | the body did not come in time |
| 410 | paused |
| 413 | larger than `max_body` |
| 503 | too much at once, no secret was set, or the certificate is not known yet; `Retry-After` says when |
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from tickover.core.errors import TickoverError
from tickover.core.text import one_line
from tickover.relay.base import Accepted, Certified, Delivery, Refused
from tickover.relay.hook import Hook
from tickover.relay.receive import hopeless, receive
from tickover.relay.sns import certificate_of
from tickover.store.events import Events, NewEvent

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY: Final = 25 << 20
MAX_PATH: Final = 400
INLINE: Final = 256 << 10
"""Bytes of a body that is kept in the database; a larger one becomes a blob."""

SMALL: Final = 64 << 10
"""Bytes of a body that is verified in the event loop; a larger one goes to a thread."""

_RETRY: Final = ((b"retry-after", b"5"),)
_CLOSE: Final = ((b"connection", b"close"),)
_KEEP: Final = ("content-type", "user-agent")
_LOG = logging.getLogger("tickover.ingest")


class Bodies(Protocol):
    """Where large bodies go: `store.base.Blobs`."""

    def put(self, content: bytes, *, max_bytes: int | None = None) -> str: ...


class _Refusal(Exception):  # noqa: N818 - an answer that leaves the middle of the work
    def __init__(self, status: int, reason: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, tuple(headers)


class Ingest:
    """The ASGI application. `wake` is called after an event was stored, and must not block."""

    def __init__(
        self,
        hooks: Callable[[str], Hook | None],
        secret: Callable[[str], Sequence[bytes]],
        events: Events,
        bodies: Bodies,
        *,
        clock: Callable[[], float],
        wake: Callable[[], None] = lambda: None,
        max_body: int = MAX_BODY,
        body_deadline: float = 10.0,
        max_in_flight: int = 256 << 20,
        base_url: str = "",
        certificate: Callable[[str], bytes | None] = lambda _: None,
    ) -> None:
        """`hooks` finds a hook by ROUTINE/TRIGGER, `secret` the valid values of a name, at most two.

        `body_deadline` is in seconds; `max_in_flight` bounds the bytes of all bodies that are being read. `base_url` is
        the address that senders use, for those that sign it. `certificate` gives the one of an address, at once; None
        if it is not there yet.
        """
        self._certificate = certificate
        self._base_url = base_url.rstrip("/")
        self._hooks = hooks
        self._secret = secret
        self._events = events
        self._bodies = bodies
        self._clock = clock
        self._wake = wake
        self._max_body = max_body
        self._deadline = body_deadline
        self._room = max_in_flight

    async def __call__(self, scope: Scope, receive_: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        source = ""
        headers: dict[str, str] = {}
        try:
            source, token = _address(scope)
            delivery = Delivery.of(scope["headers"], b"", self._url(scope))
            headers = dict(delivery.headers)
            hook = self._hook(scope, source, token)
            answer = await self._take(hook, delivery, receive_)
        except _Refusal as refusal:
            known = source if refusal.reason != "unknown" else ""
            self._events.reject(known, refusal.reason, self._clock(), _sample(scope, headers))
            await _answer(send, refusal.status, _error(refusal.reason), refusal.headers)
        except TickoverError as error:  # the store has no room, or the disk refuses: the sender keeps it
            _LOG.warning("an event could not be stored: %s", error.code)
            await _answer(send, 503, _error(error.code), _RETRY)
        except ConnectionAbortedError:
            return  # the sender hung up: nobody is left to answer
        except Exception:  # noqa: BLE001 - a sender learns nothing of it, and the server goes on
            _LOG.exception("ingest failed")
            await _answer(send, 500, _error("internal"))
        else:
            await _answer(send, 200, *answer)

    def _url(self, scope: Scope) -> str:
        """Return the address that the sender used, as far as it is known: what it says itself proves nothing."""
        if not self._base_url:
            return ""
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        query = scope.get("query_string", b"").decode("latin-1")
        return f"{self._base_url}{path}?{query}" if query else f"{self._base_url}{path}"

    def _hook(self, scope: Scope, source: str, token: str) -> Hook:
        hook = self._hooks(source) if source else None
        if hook is None:
            raise _Refusal(404, "unknown")
        if hook.token is not None and not hmac.compare_digest(token.encode(), hook.token.encode()):
            raise _Refusal(404, "unknown")
        if hook.token is None and token:
            raise _Refusal(404, "unknown")
        if scope["method"] != "POST":
            raise _Refusal(405, "method", [(b"allow", b"POST")])
        if hook.paused:
            raise _Refusal(410, "paused")
        return hook

    async def _take(self, hook: Hook, head: Delivery, receive_: Receive) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        if hook.token is None and hopeless(hook.provider, head):
            raise _Refusal(401, "header_missing")
        body = await self._read(head, receive_)
        delivery = Delivery(head.headers, body, head.url)
        secrets = [value for name in hook.secrets for value in self._secret(name)]
        if hook.secrets and not secrets:  # ours to mend: the sender keeps it until then
            raise _Refusal(503, "secret_missing", _RETRY)
        provider = hook.provider
        for scheme in provider.schemes:
            if isinstance(scheme, Certified) and (url := certificate_of(scheme, delivery)) is not None:
                secrets = [self._known(url)]
        if hook.token is not None:
            provider = replace(provider, schemes=())
        now = self._clock()
        if len(body) <= SMALL:
            found = receive(provider, secrets, delivery, now, named=False)
        else:
            found = await asyncio.to_thread(receive, provider, secrets, delivery, now, named=False)
        if isinstance(found, Refused):
            raise _Refusal(found.status, found.reason)
        if found.answer is not None:
            return found.answer.body, [(b"content-type", found.answer.content_type.encode())]
        return await self._keep(hook, delivery, found, now)

    def _known(self, url: str) -> bytes:
        """Return a certificate. One that is not there yet is got meanwhile: the sender comes again."""
        found = self._certificate(url)
        if found is None:
            raise _Refusal(503, "certificate_pending", _RETRY)
        return found

    async def _keep(
        self, hook: Hook, delivery: Delivery, found: Accepted, now: float
    ) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        body: bytes | None = delivery.body
        digest = None
        if len(delivery.body) > INLINE:
            body, digest = None, await asyncio.to_thread(self._bodies.put, delivery.body)
        kept = {name: delivery.headers[name] for name in (*_KEEP, *hook.provider.keep) if name in delivery.headers}
        put = await self._events.put(
            NewEvent(
                source=hook.source,
                provider=hook.provider.name,
                delivery=found.delivery,
                name="",  # the router reads the body; here it is not needed
                received_at=now,
                headers={name: value[:500] for name, value in kept.items()},
                size=len(delivery.body),
                body=body,
                digest=digest,
            )
        )
        self._wake()
        more = "" if put.created else ', "duplicate": true'
        return f'{{"event": "{put.event}"{more}}}'.encode(), []

    async def _read(self, head: Delivery, receive_: Receive) -> bytes:
        """Read the body within its deadline, its size and the room that all bodies share."""
        declared = head.headers.get("content-length", "")
        if declared.isascii() and declared.isdecimal() and int(declared[:20]) > self._max_body:
            raise _Refusal(413, "too_large", _CLOSE)
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._deadline):
                while True:
                    message = await receive_()
                    if message["type"] == "http.disconnect":
                        raise ConnectionAbortedError
                    piece = message.get("body", b"")
                    if size + len(piece) > self._max_body:
                        raise _Refusal(413, "too_large", _CLOSE)
                    if len(piece) > self._room:
                        raise _Refusal(503, "overloaded", _RETRY)
                    size += len(piece)
                    self._room -= len(piece)
                    pieces.append(piece)
                    if not message.get("more_body", False):
                        return b"".join(pieces)
        except TimeoutError:
            raise _Refusal(408, "body_deadline", _CLOSE) from None
        finally:
            self._room += size


def _address(scope: Scope) -> tuple[str, str]:
    """Return ROUTINE/TRIGGER and the token, "" for what no hook can have."""
    path, root = scope["path"], scope.get("root_path", "")
    path = path[len(root) :] if root and path.startswith(root) else path.removeprefix("/hooks")
    parts = path.removeprefix("/").split("/")
    if len(path) > MAX_PATH or not 2 <= len(parts) <= 3 or not all(part and part.isascii() for part in parts):
        return "", ""
    return "/".join(parts[:2]), "".join(parts[2:])


def _sample(scope: Scope, headers: Mapping[str, str]) -> dict[str, Any]:
    """Describe a refused request without any of its values but two that say who it claims to be."""
    client = scope.get("client")
    return {
        "method": one_line(str(scope["method"]), 10),
        "client": client[0] if client else "",
        "headers": {one_line(name, 60): len(value) for name, value in list(headers.items())[:40]},
        "content_type": one_line(headers.get("content-type", ""), 80),
        "user_agent": one_line(headers.get("user-agent", ""), 120),
    }


def _error(reason: str) -> bytes:
    return json.dumps({"error": {"code": reason}}).encode()


async def _answer(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    given = [(b"content-length", str(len(body)).encode()), *headers]
    if not any(name == b"content-type" for name, _ in given):
        given.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": status, "headers": given})
    await send({"type": "http.response.body", "body": body})
