"""A cassette: what passed between one attempt's agent and the world, as far as the gateway could read it.

The format is ours, one JSON object a line: the `Header` first, then each `Take` in the order in which it ended.
No credential and no secret's value is in it: a take is what the agent sent before the gateway dressed it, and what the
agent was shown.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from tickover.core.document import DocumentError, read_json
from tickover.core.errors import TickoverError
from tickover.core.event import Scalar

MOST_BODY: Final = 8 << 20
"""Bytes of one body that are recorded; of a longer one nothing is."""
MOST_BYTES: Final = 64 << 20
"""Bytes of all lines with bodies of one cassette."""
MOST_TAKES: Final = 10_000
"""Exchanges of one cassette."""


class CassetteError(TickoverError):
    """A cassette cannot be read (`cassette.malformed`)."""


def _bytes(value: object) -> bytes:
    match value:
        case bytes():
            return value
        case {"text": str(text)}:
            return text.encode()
        case {"base64": str(text)}:
            return base64.b64decode(text, validate=True)
    raise ValueError("a body is text or base64")


def _written(value: bytes) -> dict[str, str]:
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


Bytes = Annotated[bytes, BeforeValidator(_bytes), PlainSerializer(_written, when_used="json")]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Pinned(_Line):
    """A commit that the run worked on, or trusted."""

    url: str
    sha: str
    branch: str | None = None
    default_branch: str | None = None


class Header(_Line):
    """What is needed to run it again. `copy_` is the routine's folder as a pushed version, `state` a digest.

    `boundary` is the mark around what came from outside; `unread` are hosts whose traffic went through a tunnel.
    """

    format: Literal[1] = 1
    run: str
    attempt: int
    routine: str
    routine_version: str
    copy_: str
    inputs: dict[str, Scalar] = {}
    event: str | None = None
    subject: dict[str, Pinned] = {}
    trusted: dict[str, Pinned] = {}
    build: str = ""
    state: str | None = None
    boundary: str
    unread: tuple[str, ...] = ()


class Take(_Line):
    """One request and its answer. `status` is None where none came, and `why` says so; it may also have broken off.

    `left_out` says why the bodies are not here. `whole`: the answer came to its end. One without a method stands for
    all that came after a recording was full.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: str = ""
    body: Bytes = b""
    body_sha256: str = ""
    status: int | None = None
    fields: tuple[tuple[str, str], ...] = ()
    answer: Bytes = b""
    whole: bool = False
    why: str = ""
    left_out: str = ""

    @property
    def target(self) -> str:
        if not self.method:
            return "further requests"
        return target(self.method, self.scheme, self.host, self.port, self.path, self.query)


def target(method: str, scheme: str, host: str, port: int, path: str, query: str) -> str:
    """Write a request's line for people."""
    return f"{method} {scheme}://{host}:{port}{path}" + (f"?{query}" if query else "")


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Cassette(_Line):
    """A whole one."""

    header: Header
    takes: tuple[Take, ...]


def write_line(line: Header | Take) -> bytes:
    """Write one line."""
    return line.model_dump_json().encode() + b"\n"


def read_cassette(data: bytes) -> Cassette:
    """Read one. Raises CassetteError."""
    first, *rest = data.split(b"\n")
    try:
        header = Header.model_validate(read_json(first))
        return Cassette(header=header, takes=tuple(_takes(rest)))
    except (DocumentError, ValidationError) as error:
        raise CassetteError("cassette.malformed", "this is no cassette, or it was changed") from error


def _takes(lines: Iterable[bytes]) -> Iterable[Take]:
    return (Take.model_validate(read_json(line)) for line in lines if line)
