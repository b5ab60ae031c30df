"""Getting a page of the web or of a connector: GET only, bounded in time and bytes, never led to another host.

It goes through a proxy if it is given one, whose refusals are no answers of the page. Others are not used: proxy
variables of the environment are not read (`trust_env=False`): a check asks the address that stands in the
contract, and its answer must not depend on who started the process. Certificates are those of the system, or of the
proxy.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Final

import httpx

from tickover.checks.base import HttpAnswer
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import TickoverError
from tickover.core.text import one_line

MAX_BODY = 1 << 20
MAX_REDIRECTS = 5
_KEPT_HEADERS = ("content-type", "date", "etag", "last-modified", "location", "retry-after", "server")
_REFUSAL = 4096  # bytes of a refusal that are read
_PORTS = {"http": 80, "https": 443}


class HttpUnreachable(TickoverError):  # noqa: N818 - a state of the world, not a fault of ours
    """No complete answer came. The check is an `error`: nothing was learnt."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """The way to every page: an address with its password, and the certificate authority (PEM) that it shows."""

    url: str = field(repr=False)
    authority: bytes = b""


REFUSED: Final = "x-tickover-deny"
"""The header by which our gateway says that an answer is its own, and why."""


@cache
def _certificates() -> ssl.SSLContext:
    return ssl.create_default_context()


async def get(url: str, *, timeout_s: float, max_body: int = MAX_BODY, proxy: Proxy | None = None) -> HttpAnswer:
    """Get `url` within `timeout_s` seconds, redirects on the same host, scheme and port included.

    A redirect that leads elsewhere is the answer itself. Raises HttpUnreachable (`http.unreachable`, `.timeout`,
    `.redirects`, `.compressed`, `.refused`: by the proxy).
    """
    trusted = _certificates() if proxy is None else ssl.create_default_context(cadata=proxy.authority.decode("ascii"))
    through = None if proxy is None else httpx.Proxy(proxy.url)
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(trust_env=False, verify=trusted, timeout=timeout_s, proxy=through) as client,
        ):
            return await _follow(client, httpx.URL(url), max_body, proxied=proxy is not None)
    except TimeoutError as error:
        raise HttpUnreachable("http.timeout", f"{url} did not answer within {timeout_s:g} s") from error
    except httpx.ProxyError as error:
        text = f"{url} was not asked: the gateway says {error}"
        raise HttpUnreachable("http.refused", text, hint="why: `tickover runs show ID --network`") from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        why = str(error) or type(error).__name__
        raise HttpUnreachable("http.unreachable", f"{url} cannot be reached: {why}") from error


async def _follow(client: httpx.AsyncClient, url: httpx.URL, max_body: int, *, proxied: bool) -> HttpAnswer:
    for _ in range(MAX_REDIRECTS + 1):
        async with client.stream("GET", url, headers={"accept-encoding": "identity"}) as response:
            if proxied and (reason := response.headers.get(REFUSED)) is not None:
                raise HttpUnreachable("http.refused", f"{url} was not asked: {await _why(response, reason)}")
            target = _target(response)
            if target is None or _origin(target) != _origin(url):
                return await _read(response, max_body)
        url = target
    raise HttpUnreachable("http.redirects", f"{url} is the end of more than {MAX_REDIRECTS} redirects")


async def _why(response: httpx.Response, reason: str) -> str:
    """Return what the gateway says of its refusal."""
    body = b"".join([piece async for piece in response.aiter_raw()])[:_REFUSAL]
    try:
        said = read_json(body)
    except DocumentError:
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    detail = error.get("detail") if isinstance(error, dict) else None
    return one_line(f"{reason}: {detail}" if isinstance(detail, str) else reason, 300)


def _target(response: httpx.Response) -> httpx.URL | None:
    if not response.has_redirect_location:
        return None
    try:
        return response.url.join(response.headers["location"])
    except httpx.InvalidURL:
        return None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


async def _read(response: httpx.Response, max_body: int) -> HttpAnswer:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise HttpUnreachable("http.compressed", f"{response.url} compresses its answer though it was asked not to")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > max_body:
            break
    truncated = len(body) > max_body
    headers = _headers(response.headers)
    ahead_s = _ahead(headers.get("date", ""))
    return HttpAnswer(response.status_code, headers, bytes(body[:max_body]), truncated, str(response.url), ahead_s)


def _ahead(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name][:1000] for name in _KEPT_HEADERS if name in headers}
