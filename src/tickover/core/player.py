"""Which take of a cassette answers a request, and how the request drifted from it. Pure: it remembers what was asked.

Calls to models are found by (session, turn): a conversation is known by its first message, a turn is the number of
times that the model has spoken in it. So retries, restarts and conversations side by side find their own answers.
Everything else is found by method and address, then by what the body says, in the order of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import JsonValue

from tickover.core.cassette import Take, digest, target
from tickover.core.metering import Dialect, dialect_of
from tickover.core.sameness import Difference, difference, document, settled_json
from tickover.core.target import TargetError, read_path


class DriftKind(StrEnum):
    """How a replay is not as its recording.

    `unknown`: nobody asked that. `differs`: something like it was asked. `repeated`: more often than recorded.
    `unasked`: recorded, and not asked any more. `unread`: it went through a tunnel, or was too long to be recorded.
    """

    UNKNOWN = "unknown"
    DIFFERS = "differs"
    REPEATED = "repeated"
    UNASKED = "unasked"
    UNREAD = "unread"


class Drift(NamedTuple):
    """One drift. `where` is a path into the body, or a turn; `then` and `now` are cut short. All of it is hostile."""

    kind: DriftKind
    target: str
    where: str = ""
    then: str = ""
    now: str = ""


class Found(NamedTuple):
    """What answers a request: None, nobody does."""

    take: Take | None
    drift: tuple[Drift, ...] = ()


class Turn(NamedTuple):
    """A request to a model: what its conversation began with, and how often the model has spoken in it."""

    root: JsonValue
    number: int


_COMPARED = 64
"""Recorded requests to one place that a request is compared with, word by word."""


@dataclass(slots=True)
class _Entry:
    take: Take
    used: bool = False


@dataclass(slots=True)
class _Session:
    """A recorded conversation with one place (`host`, `path`): its first message, its turns."""

    root: JsonValue
    turns: dict[int, list[_Entry]] = field(default_factory=dict)
    claimed: bool = False


class Player:
    """Plays one cassette once."""

    def __init__(self, takes: Iterable[Take]) -> None:
        self._entries = [_Entry(take) for take in takes]
        self._sessions: dict[str, list[_Session]] = {}
        self._taken: dict[str, list[tuple[JsonValue, _Session]]] = {}
        self._others: list[_Entry] = []
        for entry in self._entries:
            turn = turn_of(entry.take.method, entry.take.path, entry.take.body)
            if turn is None:
                self._others.append(entry)
            else:
                recorded = self._sessions.setdefault(_place(entry.take), [])
                _session(recorded, turn.root).turns.setdefault(turn.number, []).append(entry)

    def find(self, method: str, scheme: str, host: str, port: int, path: str, query: str, body: bytes) -> Found:
        """Return the take that answers this request."""
        asked = Take(
            method=method, scheme=scheme, host=host, port=port, path=path, query=query, body=body,
            body_sha256=digest(body),
        )  # fmt: skip
        turn = turn_of(method, path, body)
        found = self._other(asked) if turn is None else self._turn(asked, turn)
        if found.take is not None and found.take.left_out:
            drift = Drift(DriftKind.UNREAD, asked.target, then=found.take.left_out)
            return Found(None, (drift,))
        return found

    def unasked(self) -> Sequence[Drift]:
        """Return what was recorded and not asked for."""
        left = [each.take for each in self._entries if not each.used]
        return [Drift(DriftKind.UNASKED, each.target, _said_turn(each)) for each in left]

    # Models.

    def _turn(self, asked: Take, turn: Turn) -> Found:
        session = self._claim(_place(asked), turn.root)
        entries = session.turns.get(turn.number, []) if session else []
        return _chosen(entries, asked, f"turn {turn.number}")

    def _claim(self, place: str, root: JsonValue) -> _Session | None:
        """Return the recorded conversation that this one is: the same, else the first that nobody has taken."""
        taken = self._taken.setdefault(place, [])
        known = next((session for began, session in taken if began == root), None)
        if known is not None:
            return known
        recorded = self._sessions.get(place, [])
        found = next((each for each in recorded if each.root == root), None)
        found = found or next((each for each in recorded if not each.claimed), None)
        if found is not None:
            found.claimed = True
            taken.append((root, found))
        return found

    # Everything else.

    def _other(self, asked: Take) -> Found:
        address = [each for each in self._others if _address(each.take) == _address(asked)]
        exact = [each for each in address if each.take.query == asked.query]
        if exact or not address:
            return _chosen(exact, asked, "")
        found = _chosen(address, asked, "")
        if found.take is None:
            return found
        differs = Drift(DriftKind.DIFFERS, asked.target, "query", found.take.query[:80], asked.query[:80])
        return Found(found.take, (differs, *found.drift))


def turn_of(method: str, path: str, body: bytes) -> Turn | None:
    """Say where in which conversation a request to a model stands; None if it is no such request."""
    try:
        dialect = dialect_of(method, read_path(path).segments)
    except TargetError:
        return None
    said = document(body) if dialect else None
    if dialect is None or not isinstance(said, dict):
        return None
    key = {Dialect.OPENAI_RESPONSES: "input", Dialect.GEMINI: "contents"}.get(dialect, "messages")
    found = said.get(key)
    items: list[Any] = found if isinstance(found, list) else [found]
    spoken = [_speaks(each) for each in items]
    number = sum(now and not before for before, now in zip([False, *spoken], spoken, strict=False))
    first = next((each for each, speaks in zip(items, spoken, strict=True) if not speaks and _is_users(each)), None)
    return Turn(settled_json(_text(first)), number)


_SPOKEN_TYPES = frozenset({"function_call", "reasoning", "custom_tool_call", "local_shell_call", "web_search_call"})


def _speaks(item: Any) -> bool:
    """Whether an item of a conversation is the model's own."""
    return isinstance(item, dict) and (item.get("role") in {"assistant", "model"} or item.get("type") in _SPOKEN_TYPES)


def _is_users(item: Any) -> bool:
    return not isinstance(item, dict) or item.get("role") in {"user", None}


def _text(item: Any) -> JsonValue:
    """Return what an item says, without what steers a cache."""
    if isinstance(item, dict):
        return item.get("content", item.get("parts"))
    return item if isinstance(item, str) else None


def _said_turn(take: Take) -> str:
    turn = turn_of(take.method, take.path, take.body)
    return "" if turn is None else f"turn {turn.number}"


def _place(take: Take) -> str:
    return f"{take.host}:{take.port}{take.path}"


def _address(take: Take) -> str:
    return target(take.method, take.scheme, take.host, take.port, take.path, "")


def _session(sessions: list[_Session], root: JsonValue) -> _Session:
    for each in sessions:
        if each.root == root:
            return each
    sessions.append(_Session(root))
    return sessions[-1]


def _chosen(entries: Sequence[_Entry], asked: Take, where: str) -> Found:
    """Choose among entries that may answer: the first unused one that is or says the same, else the first unused one.

    When all are used, the last that says the same answers again.
    """
    if not entries:
        return Found(None, (Drift(DriftKind.UNKNOWN, asked.target, where, now=_beginning(asked.body)),))
    unused = [each for each in entries if not each.used]
    among = unused or entries[::-1]
    same = next((each for each in among if each.take.body_sha256 == asked.body_sha256), None)
    apart = [] if same else [(each, _apart(each.take, asked)) for each in among[:_COMPARED]]
    same = same or next((entry for entry, differs in apart if differs is None), None)
    drift: list[Drift] = []
    if same:
        entry = same
    else:
        entry, differs = apart[0]
        if differs is not None:
            place = ", ".join(filter(None, (where, differs.at)))
            drift.append(Drift(DriftKind.DIFFERS, asked.target, place, differs.then, differs.now))
    if entry.used:
        drift.append(Drift(DriftKind.REPEATED, asked.target, where))
    entry.used = True
    return Found(entry.take, tuple(drift))


def _apart(then: Take, now: Take) -> Difference | None:
    if then.body_sha256 == now.body_sha256 or then.left_out:
        return None
    return difference(then.body, now.body)


def _beginning(body: bytes) -> str:
    return body[:80].decode("utf-8", "replace")
