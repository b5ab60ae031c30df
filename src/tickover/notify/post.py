"""One POST whose address may be a secret: it appears in no log and in no error."""

from __future__ import annotations

import logging
from typing import Any, Final

import httpx

from tickover.core.text import one_line
from tickover.notify.base import NotifyError

SECONDS: Final = 15.0
_MOST: Final = 64 << 10  # bytes of an answer that are read
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # at INFO they write whole addresses


async def post(url: str, body: bytes, headers: dict[str, str], *, address: str | None = None) -> bytes:
    """Send it and return the answer's first bytes. No redirect is followed. Raises NotifyError.

    `address` is dialled instead of asking for the host's; names in TLS and in the request stay those of the URL.
    """
    extensions: dict[str, Any] = {}
    try:
        if address is not None:
            there = httpx.URL(url)
            headers = {**headers, "host": there.netloc.decode("ascii")}
            extensions["sni_hostname"] = there.host
            url = str(there.copy_with(host=address))
        async with (
            httpx.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url, content=body, headers=headers, extensions=extensions) as answer,
        ):
            content = b""
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) >= _MOST:
                    break
            if answer.is_success:
                return content[:_MOST]
            raise NotifyError(
                "refused",
                f"the receiver answered {answer.status_code}: {one_line(content[:500].decode('utf-8', 'replace'))}",
                again=answer.status_code in _LATER,
                after=_seconds(answer.headers.get("retry-after")),
            )
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
        raise NotifyError("address", "the address is none that can be posted to", again=False) from None
    except httpx.HTTPError as error:
        raise NotifyError(
            "unreachable", f"the receiver could not be reached: {type(error).__name__}", again=True
        ) from None


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdigit() and len(header) < 6 else None
