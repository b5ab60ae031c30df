"""What a request is about: `METHOD URL`, read so strictly that our reading is the server's.

`read_path` refuses what servers disagree about, and names what only some read differently (`quirks`). `Target` is
the pattern of `may` and of the check `receipt`: `*` is exactly one segment of the path, or one value of the query.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tickover.core.errors import UsageError
from tickover.core.host import HostError, canonical
from tickover.core.text import one_line

PORTS = {"https": 443, "http": 80}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_PATH = 8192

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?"
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TWICE = re.compile(r"%25[0-9A-Fa-f]{2}")
_PARAMETER = re.compile(r";|%3B")
_QUIRKS = (
    ("an escaped slash", re.compile("%2F")),
    ("an escaped percent sign", re.compile("%25")),
    ("a semicolon", _PARAMETER),
    ("an empty segment", re.compile("//")),
)


class TargetError(UsageError):
    """A URL or path is read differently by different programs, so it is not read at all."""

    def __init__(self, why: str) -> None:
        super().__init__("target.malformed", why)


class Path(NamedTuple):
    """A path, segment by segment, each in one spelling. `quirks` says what a server may yet read otherwise."""

    segments: tuple[str, ...]
    quirks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/" + "/".join(self.segments)


@lru_cache(maxsize=64)
def read_path(raw: str) -> Path:
    """Read the path of a request line. Raises TargetError."""
    if not raw.startswith("/") or len(raw) > MAX_PATH:
        raise TargetError(f"a path begins with / and has at most {MAX_PATH} characters")
    path = _spelled(raw)
    segments = tuple(path[1:].split("/"))
    for segment in segments:
        bare = _PARAMETER.split(segment)[0].replace("%20", "")
        if bare and not bare.strip("."):
            raise TargetError("a segment of dots leads to another path")
    quirks = [says for says, sign in _QUIRKS if sign.search(path)]
    if any(map(_is_look_alike, segments)):
        quirks.append("a character that some read as . / or \\")
    return Path(segments, tuple(quirks))


def _spelled(raw: str) -> str:
    """Decode what needs no escape, write other escapes in upper case; refuse what has no single meaning."""
    if not all("!" <= sign <= "~" for sign in raw):
        raise TargetError("white space, control characters and what is not ASCII must be escaped")
    if set(raw) & set("\\#?"):
        raise TargetError("a \\, # or ? has no place in a path")
    if _BAD_ESCAPE.search(raw):
        raise TargetError("a % begins an escape of two hexadecimal digits")
    if _TWICE.search(raw):
        raise TargetError("it is escaped twice")
    try:
        decoded = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise TargetError("its escapes are not UTF-8") from None
    if any(sign == "\\" or unicodedata.category(sign) == "Cc" for sign in decoded):
        raise TargetError("an escaped backslash or control character has no place in a path")
    return re.sub("%..", lambda found: _one_escape(found[0]), raw)


def _one_escape(escape: str) -> str:
    sign = chr(int(escape[1:], 16))
    return sign if sign in _UNRESERVED else escape.upper()


def _is_look_alike(segment: str) -> bool:
    text = unquote_to_bytes(segment).decode()
    return any(not sign.isascii() and set(unicodedata.normalize("NFKC", sign)) & set("./\\") for sign in text)


def read_query(raw: str) -> tuple[str, ...]:
    """Read a query into its `key=value` parts, each in one spelling. Raises TargetError."""
    if not raw:
        return ()
    if not all("!" <= sign <= "~" for sign in raw) or "#" in raw:
        raise TargetError("white space, # and what is not ASCII must be escaped in a query")
    if _BAD_ESCAPE.search(raw):
        raise TargetError("a % begins an escape of two hexadecimal digits")
    return tuple(re.sub("%..", lambda found: _one_escape(found[0]), part) for part in raw.split("&"))


@dataclass(frozen=True, slots=True)
class Target:
    """One method at one address; segments and values that are `*` stand for any one."""

    method: str
    scheme: str
    host: str
    port: int
    segments: tuple[str, ...]
    query: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `METHOD URL`. Raises TargetError."""
        method, _, url = text.partition(" ")
        found = _URL.fullmatch(url)
        if method not in METHODS or found is None:
            raise TargetError(f'a request is "METHOD URL", and `{one_line(text, 80)}` is none')
        if found["fragment"] is not None:
            raise TargetError("what follows # is never sent")
        scheme, host, port = read_origin(url)
        path = read_path(found["path"] or "/")
        if path.quirks:
            raise TargetError(f"{path.quirks[0]} has no place in the path of a rule")
        if any("*" in segment and segment != "*" for segment in path.segments):
            raise TargetError("`*` stands for a whole segment of the path")
        return cls(method, scheme, host, port, path.segments, read_query(found["query"] or ""))

    def is_at(self, scheme: str, host: str, port: int) -> bool:
        return (self.scheme, self.host, self.port) == (scheme, host, port)

    def leads_to(self, path: Path) -> bool:
        """Say whether the path is meant. An empty segment is no `*`, and a path with quirks is never meant."""
        if path.quirks or len(path.segments) != len(self.segments):
            return False
        return all(
            ours in (theirs, "*" if theirs else None) for ours, theirs in zip(self.segments, path.segments, strict=True)
        )

    def asks(self, query: tuple[str, ...]) -> bool:
        """Say whether the query is the same: the same parameters in the same order, none more."""
        if len(query) != len(self.query):
            return False
        return all(_same_part(ours, theirs) for ours, theirs in zip(self.query, query, strict=True))

    def __str__(self) -> str:
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        query = f"?{'&'.join(self.query)}" if self.query else ""
        return f"{self.method} {self.scheme}://{self.host}{port}/{'/'.join(self.segments)}{query}"


def _same_part(ours: str, theirs: str) -> bool:
    key, equals, value = ours.partition("=")
    if equals and value == "*":
        return theirs.partition("=")[:2] == (key, "=")
    return ours == theirs


def read_origin(url: str) -> tuple[str, str, int]:
    """Read scheme, host and port of a URL whose rest may hold templates. Raises TargetError."""
    found = _URL.fullmatch(url)
    if found is None:
        raise TargetError("a URL begins with https:// or http://")
    return found["scheme"], *read_authority(found["authority"], PORTS[found["scheme"]])


def read_authority(text: str, port: int) -> tuple[str, int]:
    """Read `host` or `host:port` of a URL, a `Host` header or a CONNECT. Raises TargetError."""
    host, colon, given = text.rpartition(":")
    if not colon:
        host = text
    elif not re.fullmatch("[1-9][0-9]{0,4}", given) or int(given) > 65535:
        raise TargetError("a port is a number from 1 to 65535")
    else:
        port = int(given)
    try:
        return canonical(host), port
    except HostError as error:
        raise TargetError(error.message) from None
