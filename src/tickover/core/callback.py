"""Callbacks: what became of a run that was started over the API, told to an address that the instance names.

Never the caller: an address in a request would make the server dial wherever somebody likes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tickover.core.host import HostError
from tickover.core.network import Endpoint
from tickover.core.row import RunRow
from tickover.core.shape import Form, Line, Name, Strict
from tickover.core.target import TargetError, read_origin

PREFIX: Final = "callback:"
"""Before a callback's name in the outbox: no target of `notify` has a colon in its name."""
API: Final = "api"
_TOKEN: Final = re.compile(r"\(token ([a-z2-7]{10})\)")

TokenId = Annotated[str, Form(r"[a-z2-7]{10}", "a token's id is the ten characters that `tickover token list` shows")]


class Callback(Strict):
    """Where to post, what signs it (a secret of kind `signing`), and for whose runs: of routines, of tokens or both."""

    url: Annotated[Line, Field(pattern=r"^https?://", max_length=2000)]
    secret: Name
    routines: tuple[Name, ...] = ()
    tokens: tuple[TokenId, ...] = ()

    @model_validator(mode="after")
    def _for_somebody(self) -> Callback:
        try:
            read_origin(self.url)
        except TargetError as error:
            raise PydanticCustomError("form", "{text}", {"text": error.message, "at": ("url",)}) from None
        if not self.routines and not self.tokens:
            raise PydanticCustomError("choice", "{text}", {"text": "it is for nobody: name `routines` or `tokens`"})
        return self

    def wants(self, row: RunRow) -> bool:
        """Say whether it is told of a run's end."""
        return row.trigger == API and (row.routine in self.routines or token_of(row.by) in self.tokens)


@dataclass(frozen=True, slots=True)
class Posting:
    """A callback, and whether its host may have private addresses here."""

    callback: Callback
    private: bool


class Told(BaseModel):
    """What is posted: ids, states and what was proved; no text that an agent or an event wrote."""

    model_config = ConfigDict(frozen=True)

    run: str
    routine: str
    key: str | None
    execution: str
    outcome: str
    cause: str
    exit_code: int | None
    created: float
    finished: float
    attempts: int
    more: str = ""


def told_of(row: RunRow, more: str) -> Told:
    """Make what is posted of a run that has ended."""
    assert row.finished is not None
    return Told(
        run=row.id,
        routine=row.routine,
        key=row.key.removeprefix("api:") if row.key is not None else None,
        execution=row.execution,
        outcome=row.outcome or "none",
        cause=row.cause.cause if row.cause else "",
        exit_code=row.exit_code,
        created=row.created,
        finished=row.finished,
        attempts=row.attempt,
        more=more,
    )


def json_of(told: Told) -> bytes:
    """Return the body, in the form that Standard Webhooks recommends: type, timestamp, data."""
    data = told.model_dump(mode="json")
    data |= {"created": _iso(told.created), "finished": _iso(told.finished)}
    body: dict[str, Any] = {"type": "run.finished", "timestamp": _iso(told.finished), "data": data}
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def token_of(by: str) -> str:
    """Return the id of the token that started a run, "" if none did."""
    found = _TOKEN.search(by)
    return found[1] if found else ""


def postings(callbacks: Mapping[str, Callback], private: tuple[str, ...]) -> dict[str, Posting]:
    """Return each callback with what `network.private` of the instance says of its host."""
    return {name: Posting(each, may_be_private(each.url, private)) for name, each in callbacks.items()}


def wanted(found: Mapping[str, Posting], row: RunRow) -> list[str]:
    """List the callbacks that a run's end is told to."""
    return [name for name, each in found.items() if each.callback.wants(row)]


def may_be_private(url: str, private: tuple[str, ...]) -> bool:
    """Say whether the instance allows private addresses for the host of a URL (`network.private`)."""
    _, host, port = read_origin(url)
    for entry in private:
        try:
            if Endpoint.parse(entry).covers(host, port):
                return True
        except HostError:
            continue
    return False


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
