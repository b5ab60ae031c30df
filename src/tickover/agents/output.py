"""Raw output on its way into the journal: gathered, bounded, cut into lines. Nothing here believes what it carries."""

from __future__ import annotations

import bisect
from json.encoder import encode_basestring_ascii

from tickover.agents.base import AgentFact, Stream
from tickover.core.event import AgentOutput, FindingReported
from tickover.core.finding import FindingCode, found

PIECE = 32 << 10
"""Characters that one `agent_output` holds at most, and about what a log gathers before it lets go."""

LONGEST_LINE = 1 << 20


class OutputLog:
    """Gathers text per stream; keeps `limit` bytes of it in all, as a journal writes them, and counts the rest.

    Within one gathering the order of the two streams is lost, as it is between two pipes anyway; in exchange a
    process that alternates between them byte by byte makes no flood of facts.
    """

    def __init__(self, limit: int) -> None:
        self._room = limit
        self._gathered: dict[Stream, list[str]] = {"stdout": [], "stderr": []}
        self._waiting = 0
        self.dropped = 0

    def add(self, stream: Stream, text: str) -> list[AgentFact]:
        if self.dropped:
            return self.drop(stream, _bytes(text))
        shown = writable(text)
        size = _written(shown)
        if size <= self._room:
            self._room -= size
            return self._gather(stream, shown)
        fits = bisect.bisect_right(range(len(shown)), self._room, key=lambda end: _written(shown[:end])) - 1
        facts = self._gather(stream, shown[:fits])
        return [*facts, *self.drop(stream, _bytes(text[fits:]))]

    def drop(self, stream: Stream, size: int) -> list[AgentFact]:
        """Count `size` bytes that are not kept, and say so the first time."""
        first = self.dropped == 0
        self.dropped += size
        return [*self.flush(), AgentOutput(stream=stream, text="", truncated=True)] if first and size else []

    def takes(self, size: int) -> bool:
        """Say whether `size` bytes that are kept as something else than output still fit, and count them if so."""
        if self.dropped or size > self._room:
            return False
        self._room -= size
        return True

    def flush(self) -> list[AgentFact]:
        facts: list[AgentFact] = []
        for stream, parts in self._gathered.items():
            text = "".join(parts)
            facts += [
                AgentOutput(stream=stream, text=text[start : start + PIECE]) for start in range(0, len(text), PIECE)
            ]
            parts.clear()
        self._waiting = 0
        return facts

    def close(self) -> list[AgentFact]:
        """Return what is left, and a finding if something was not kept."""
        facts = self.flush()
        if self.dropped:
            detail = found(FindingCode.OUTPUT_TRUNCATED, detail={"dropped_bytes": self.dropped})
            facts.append(FindingReported.of(detail))
        return facts

    def _gather(self, stream: Stream, text: str) -> list[AgentFact]:
        if text:
            self._gathered[stream].append(text)
            self._waiting += len(text) + 64  # a list of very short texts costs memory, too
        return self.flush() if self._waiting >= PIECE else []


def _written(text: str) -> int:
    """Return the bytes of `text` in JSON: an escape takes six."""
    return len(encode_basestring_ascii(text)) - 2


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


class LineSplitter:
    """Finds the lines that start with `prefix` and have at most `limit` bytes; all between them comes in pieces."""

    def __init__(self, prefix: bytes, limit: int = LONGEST_LINE) -> None:
        self._prefix = prefix
        self._limit = limit
        self._rest = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """Return (bytes, found) pairs that join to what was fed; a line that is found includes its end."""
        pieces: list[tuple[bytes, bool]] = []
        if not self._rest and not self._too_long and self._prefix not in data and b"\n" in data:
            cut = data.rindex(b"\n") + 1
            pieces.append((data[:cut], False))
            data = data[cut:]
        *ended, rest = data.split(b"\n")
        for line in ended:
            self._rest += line + b"\n"
            found_one = not self._too_long and len(self._rest) <= self._limit and self._rest.startswith(self._prefix)
            pieces.append((bytes(self._rest), found_one))
            self._rest.clear()
            self._too_long = False
        self._rest += rest
        if len(self._rest) > self._limit:
            pieces += self.finish()
            self._too_long = True
        return pieces

    def finish(self) -> list[tuple[bytes, bool]]:
        """Return what follows the last line end; it is never a whole line."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [(rest, False)] if rest else []


def writable(text: str) -> str:
    """Replace what no store can write as text: NUL and halves of surrogate pairs. Escapes stay: they are data."""
    text = text.replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
