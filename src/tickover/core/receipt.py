"""Receipts: what the gateway saw of each outbound call, in a chain that shows every later change.

A call has a `Begun` record, written before a write leaves, and an `Ended` one; a begin without an end is unknown:
the write may have been done. Each record is linked to the one before by an HMAC whose key never leaves the gateway.
A chain alone does not show that its tail was cut off, so its `Head` is sealed in the run's journal.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from tickover.core.lookup import JsonPath

CHOSEN_MOST = 64 * 1024
"""Bytes of canonical JSON that are kept of one body."""


class Identity(StrEnum):
    """Who called. Only the agent's calls are evidence of its work."""

    SETUP = "setup"
    AGENT = "agent"
    VERIFIER = "verifier"
    SERVER = "server"
    """An MCP server that is a program, in its own sandbox."""


class Delivery(StrEnum):
    """How far a call came. `cut`: it left, and no whole answer came back."""

    ANSWERED = "answered"
    CUT = "cut"
    UNSENT = "unsent"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Chosen(_Record):
    """Fields of a JSON body that a check will ask for, redacted.

    Not `complete`: it was too large, cut off, or a request's that says nothing a reader could rely on (a form,
    compressed, a key twice). A request without a body and an answer that is no JSON have no `Chosen` at all.
    """

    value: JsonValue = None
    complete: bool = True


class Begun(_Record):
    """A call is about to leave. `call` numbers the run's calls; `at` is UTC epoch seconds; nothing in it is secret."""

    kind: Literal["begin"] = "begin"
    call: int = Field(ge=1)
    at: float
    attempt: int = Field(ge=0)
    identity: Identity = Identity.AGENT
    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: str = ""
    rule: str
    credential: str | None = None
    writes: bool
    request_json: Chosen | None = None
    refs: tuple[str, ...] = ()


class Ended(_Record):
    """What became of the call. Without a `status` nobody knows what the server did, unless it was `unsent`."""

    kind: Literal["end"] = "end"
    call: int = Field(ge=1)
    at: float
    delivery: Delivery
    status: int | None = None
    duration_ms: int = Field(default=0, ge=0)
    request_bytes: int = Field(default=0, ge=0)
    response_bytes: int = Field(default=0, ge=0)
    request_sha256: str | None = None
    response_sha256: str | None = None
    response_json: Chosen | None = None
    why: str = ""


Record = Annotated[Begun | Ended, Field(discriminator="kind")]


class Link(_Record):
    """A record in its chain."""

    seq: int
    record: Record
    mac: str


class Head(NamedTuple):
    """The end of a chain: how many records, and the last one's MAC."""

    seq: int
    mac: str


class Broken(NamedTuple):
    """Why a chain does not verify: a stable code, the first record that is wrong, and a sentence."""

    code: Literal["order", "changed", "cut", "beyond"]
    seq: int
    says: str


def origin(run: str, key: bytes) -> Head:
    """Begin a run's chain. Records of one run do not verify in another's."""
    return Head(0, hmac.new(key, b"tickover receipts 1\0" + run.encode("utf-8", "replace"), hashlib.sha256).hexdigest())


def link(record: Begun | Ended, head: Head, key: bytes) -> Link:
    """Append a record: the link's `head_of` is the chain's new head."""
    seq = head.seq + 1
    return Link(seq=seq, record=record, mac=_mac(seq, record, head.mac, key))


def head_of(last: Link) -> Head:
    return Head(last.seq, last.mac)


def verify(links: Sequence[Link], sealed: Head, run: str, key: bytes, *, unfinished: bool = False) -> Broken | None:
    """Find the first record that was edited, removed, swapped or cut off, or nothing.

    `sealed` is the head in the run's journal. `unfinished`: the gateway died before it could seal its last
    records, so that some may follow.
    """
    head = origin(run, key)
    if sealed.seq == 0 and not _same(sealed.mac, head.mac):
        return Broken("changed", 0, "the sealed head is not of this run")
    for each in links:
        if each.seq != head.seq + 1:
            return Broken("order", each.seq, f"record {each.seq} stands where {head.seq + 1} belongs")
        if not _same(each.mac, _mac(each.seq, each.record, head.mac, key)):
            return Broken("changed", each.seq, f"record {each.seq} is not as it was written")
        head = head_of(each)
        if head.seq == sealed.seq and not _same(head.mac, sealed.mac):
            return Broken("changed", each.seq, f"record {each.seq} is not the one that was sealed")
    if head.seq < sealed.seq:
        return Broken("cut", head.seq + 1, f"{sealed.seq - head.seq} of {sealed.seq} records are missing at the end")
    if head.seq > sealed.seq and not unfinished:
        return Broken("beyond", sealed.seq + 1, f"{head.seq - sealed.seq} records follow the sealed end")
    return None


def _mac(seq: int, record: Begun | Ended, before: str, key: bytes) -> str:
    body = canonical_json({"seq": seq, "record": record.model_dump(mode="json")})
    return hmac.new(key, before.encode("utf-8", "replace") + b"\n" + body, hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def canonical_json(value: JsonValue) -> bytes:
    """Write JSON in one way, that outlives a store: keys sorted, 1.0 as 1, half a surrogate pair as ?."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Receipt:
    """One call with its end, if there is one."""

    begun: Begun
    ended: Ended | None = None

    @property
    def left(self) -> bool:
        """Whether anything of it may have left."""
        return self.ended is None or self.ended.delivery is not Delivery.UNSENT

    @property
    def unknown(self) -> bool:
        """Whether it left and nobody knows what the server did."""
        return self.left and (self.ended is None or self.ended.status is None)


def receipts_of(records: Iterable[Begun | Ended]) -> list[Receipt]:
    """Join begins and ends, in the order of the begins."""
    begun: dict[int, Begun] = {}
    ended: dict[int, Ended] = {}
    for record in records:
        if isinstance(record, Begun):
            begun.setdefault(record.call, record)
        else:
            ended.setdefault(record.call, record)
    return [Receipt(each, ended.get(call)) for call, each in begun.items()]


def counts_of(receipts: Iterable[Receipt]) -> Counter[str]:
    """Count the writes that left by their rule, over all attempts: what `max` is compared with."""
    return Counter(each.begun.rule for each in receipts if each.begun.writes and each.left)


def choose(
    document: JsonValue, paths: Sequence[JsonPath], redact: Callable[[str], str], most: int = CHOSEN_MOST
) -> Chosen:
    """Keep of a document what `paths` lead to, secrets taken out; each path gives in it what it gave before."""
    kept = _redacted(_pruned(document, [path.parts for path in paths]), redact)
    return Chosen(value=kept) if len(canonical_json(kept)) <= most else Chosen(complete=False)


def _pruned(value: Any, paths: list[tuple[Any, ...]]) -> Any:
    if not all(paths):
        return value
    if isinstance(value, dict):
        wanted = {path[0] for path in paths if isinstance(path[0], str)}
        return {key: _pruned(value[key], _rest(paths, key)) for key in value if key in wanted}
    if not isinstance(value, list):
        return None
    each = [path[1:] for path in paths if not isinstance(path[0], str | int)]
    numbers = [path[0] for path in paths if isinstance(path[0], int) and path[0] < len(value)]
    length = len(value) if each else max(numbers, default=-1) + 1
    found = ((inner, each + _rest(paths, index)) for index, inner in enumerate(value[:length]))
    return [_pruned(inner, below) if below else None for inner, below in found]


def _rest(paths: list[tuple[Any, ...]], part: str | int) -> list[tuple[Any, ...]]:
    return [path[1:] for path in paths if type(path[0]) is type(part) and path[0] == part]


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(key): _redacted(inner, redact) for key, inner in value.items()}
    return [_redacted(inner, redact) for inner in value] if isinstance(value, list) else value
