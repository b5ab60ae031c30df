"""The relay's words: a delivery as it came, what became of it, and a sender as data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeAlias

from tickover.core.lookup import MISSING, JsonPath, PathError
from tickover.relay.content import read_content

MAX_HEADER = 8192
"""Bytes of one header's value that a verifier looks at."""


@dataclass(frozen=True)
class Delivery:
    """One request. Header names are lower case; values are bytes as Latin-1, so that none is lost or invented."""

    headers: Mapping[str, str]
    body: bytes
    url: str = ""
    """The whole address that the sender used, "" where the instance does not know its own: some senders sign it."""

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]], body: bytes, url: str = "") -> Delivery:
        """Take raw headers; one that stands several times is joined by a comma, as HTTP says."""
        found: dict[str, str] = {}
        for raw_name, raw_value in headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]}, {value}" if name in found else value
        return cls(found, body, url)

    @cached_property
    def content(self) -> Any:
        """The body as JSON, MISSING where it is none. Read once, and only if somebody asks."""
        return read_content(self.headers.get("content-type", ""), self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender's handshake wants to hear. Such a delivery is answered and starts nothing."""

    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The sender is who he says. `delivery` is the same when he sends it again; `event` is "" if he names none."""

    delivery: str
    event: str
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Not accepted: the status to answer with and a stable reason. It never quotes the delivery."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature over parts of the delivery.

    `signed` is a template of `{body} {header:NAME} {kv:KEY} {body:PATH} {url} {form}`, `ts` a reference; `{form}` has
    the fields of a form, sorted, or nothing if `{url}` has the body's digest. `tolerance` is in seconds, both ways.
    `kv`: the header is `k=v` pairs. `secret_form: whsec` is base64, perhaps behind `whsec_`.
    """

    header: str
    signed: str = "{body}"
    prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"
    split: str | None = None
    kv: bool = False
    algo: Literal["hmac-sha256", "hmac-sha1", "ed25519"] = "hmac-sha256"
    ts: str | None = None
    ts_unit: Literal["s", "ms"] = "s"
    tolerance: float = 300.0
    secret_form: Literal["text", "whsec"] = "text"  # noqa: S105 - how it is written, not what it is


@dataclass(frozen=True, slots=True)
class Token:
    """A secret that is sent as it is. `basic`: as user:password, base64 behind `Basic `."""

    header: str
    prefix: str = ""
    basic: bool = False


@dataclass(frozen=True, slots=True)
class Certified:
    """AWS SNS: a signature of Amazon's over a message of this topic, by a certificate that the message names."""

    topic: str
    header: str = "x-amz-sns-message-type"


Scheme: TypeAlias = Signed | Token | Certified


def _no_handshake(_: Delivery) -> Answer | None:
    return None


def _no_key(_: Any) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Provider:
    """A sender: any one of its `schemes` proves it.

    `ids` are references of which the first that is there names the delivery, else `key` of the content, else its
    digest. `event` are references joined by a dot; the parts that are not there are left out.
    """

    name: str
    schemes: tuple[Scheme, ...]
    ids: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    """Headers that are stored with the event, besides its content type and user agent."""

    handshake: Callable[[Delivery], Answer | None] = field(default=_no_handshake)
    key: Callable[[Any], str | None] = field(default=_no_key)


def reference(delivery: Delivery, name: str, pairs: Mapping[str, str]) -> Any:
    """Look up `header:NAME`, `kv:KEY` or `body:PATH`; MISSING where there is nothing."""
    from_where, _, what = name.partition(":")
    if from_where == "header":
        return delivery.headers.get(what.lower(), MISSING)
    if from_where == "kv":
        return pairs.get(what, MISSING)
    path = _path(what)
    return MISSING if path is None else path.get(delivery.content)


@lru_cache(maxsize=1024)
def _path(text: str) -> JsonPath | None:
    try:
        return JsonPath.parse(text)
    except PathError:
        return None
