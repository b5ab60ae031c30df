"""Request targets as a client spells them -> the one spelling that everything else compares.

Whatever two parsers could read differently is refused, never repaired (RFC 9112 section 3.2, RFC 3986).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from tickover.core.host import HostError, canonical
from tickover.gateway.refusal import Refusal

Form = Literal["origin", "absolute", "authority", "asterisk"]

_PORT = re.compile(r"[1-9][0-9]{0,4}")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_ABSOLUTE = re.compile(r"(https?)://([^/?]*)(.*)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Authority:
    """A host in its canonical spelling, and the port if one was given."""

    host: str
    port: int | None = None

    def at(self, default: int) -> tuple[str, int]:
        return self.host, default if self.port is None else self.port


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """A request's target. `path` is path and query as sent: `*` for the asterisk form, empty for CONNECT.

    `scheme` and `authority` are those of the absolute form; CONNECT has an authority alone.
    """

    form: Form
    path: str
    scheme: str | None = None
    authority: Authority | None = None

    @property
    def default_port(self) -> int:
        return _DEFAULT_PORTS[self.scheme] if self.scheme else 0


def parse_authority(text: str) -> Authority:
    """Read `host` or `host:port`. User information, addresses and odd ports are refused."""
    name, colon, port = text.partition(":")
    try:
        host = canonical(name) if text.isascii() else canonical("%")
    except HostError as error:
        raise Refusal(400, "bad_host", error.message) from error
    if not colon:
        return Authority(host)
    if not _PORT.fullmatch(port) or int(port) > 0xFFFF:
        raise Refusal(400, "bad_port", f"{text[:100]!r} has no port from 1 to 65535")
    return Authority(host, int(port))


def parse_target(method: str, text: str) -> RequestTarget:
    """Read a target in one of its four forms."""
    if not _VISIBLE.fullmatch(text) or "#" in text:
        raise Refusal(400, "bad_target", "a target is visible ASCII without a fragment")
    if method == "CONNECT":
        authority = parse_authority(text)
        if authority.port is None:
            raise Refusal(400, "bad_port", "CONNECT names host and port")
        return RequestTarget("authority", "", None, authority)
    if text.startswith("/"):
        return RequestTarget("origin", text)
    if text == "*" and method == "OPTIONS":
        return RequestTarget("asterisk", text)
    match = _ABSOLUTE.fullmatch(text)
    if not match:
        raise Refusal(400, "bad_target", f"{text[:100]!r} is no http or https address")
    path = match[3] if match[3].startswith("/") else f"/{match[3]}"
    return RequestTarget("absolute", path, match[1].lower(), parse_authority(match[2]))


def plain_path(path: str) -> str:
    """Return the decoded path that a rule may compare; refuse one that an upstream could resolve to another path."""
    raw = path.partition("?")[0]
    try:
        plain = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, "ambiguous_path", f"{raw[:100]!r} is not UTF-8") from error
    odd = any(sign in plain for sign in "%\\;?#") or "//" in plain or not plain.isprintable()
    if odd or "%2f" in raw.lower() or any(part in {".", ".."} for part in plain.split("/")):
        raise Refusal(400, "ambiguous_path", f"{raw[:100]!r} can be read in two ways")
    return plain
