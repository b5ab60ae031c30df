"""A secret that an upstream sends back is blotted out of the stream, in each form in which it could be read.

Forms: as it is, base64 (standard and URL-safe, wherever in a longer text it stands), hexadecimal; each of these plain,
percent-encoded or escaped as in JSON. Every blot is as long as what it covers, so a declared length stays true.
Only the end that may be the beginning of a form is held back, so events of a stream pass as they come.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tickover.gateway.glance import Glance

SHORTEST = 6
"""Bytes: a shorter secret would blot out what is none."""

_HEX = rb"[0-9A-Fa-f]"
_PERCENT = re.compile(rb"%(" + _HEX + rb"{2})")
_FORM = re.compile(_PERCENT.pattern + rb"|\+")
_JSON = re.compile(
    rb"\\u([dD][89abAB]" + _HEX + rb"{2})\\u([dD][c-fC-F]" + _HEX + rb"{2})"
    rb"|\\u(" + _HEX + rb"{4})"
    rb'|\\(["\\/bfnrt])'
)  # fmt: skip
_CUT = {
    _PERCENT: re.compile(rb"%" + _HEX + rb"?\Z"),
    _FORM: re.compile(rb"%" + _HEX + rb"?\Z"),
    _JSON: re.compile(rb"(?:\\u[dD][89abAB]" + _HEX + rb"{2})?\\(?:u" + _HEX + rb"{0,3})?\Z"),
}
"""Escapes whose end may still come."""
_HALF = re.compile(rb"\\u[dD][89abAB]" + _HEX + rb"{2}")
_CROSSED = re.compile(rb"(?:%" + _HEX + rb"?|\\u[dD][89abAB]" + _HEX + rb"{2}|\\(?:u" + _HEX + rb"{0,3})?)\Z")
"""An escape that may not be over where the stream is cut, in whatever way what stands before it is read."""
_LONGEST_ESCAPE = 12
_JSON_SIGNS = dict(zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True))
_BLOTS = b"*#~^!$&()@?<>|;:,._-" + bytes(range(0x30, 0x7B))


def forms(secret: bytes) -> frozenset[bytes]:
    """Return the byte strings that betray a secret, before any percent-encoding or escaping."""
    if len(secret) < SHORTEST:
        raise ValueError(f"a secret of fewer than {SHORTEST} bytes cannot be told from other text")
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    for offset in range(3):
        # What stands before shares a sign with the secret's first bits, what follows with its last: leave those out.
        encoded = base64.b64encode(bytes(offset) + secret)
        core = encoded[(0, 2, 3)[offset] : len(encoded) - (0, 3, 2)[(offset + len(secret)) % 3]]
        found |= {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Escape:
    """Where an escape stands in the stream, and its value in the view."""

    start: int
    end: int
    view_start: int
    view_end: int


class _View:
    """The stream with its escapes read, and the way back from a place in it to the stream."""

    def __init__(self, data: bytes, escape: re.Pattern[bytes] | None = None) -> None:
        self.text = data
        self.complete = len(data)
        self._escapes: list[_Escape] = []
        if escape:
            self._read(data, escape)
        self._view_starts = [each.view_start for each in self._escapes]
        self._starts = [each.start for each in self._escapes]

    def _read(self, data: bytes, escape: re.Pattern[bytes]) -> None:
        matches = list(escape.finditer(data))
        done = matches[-1].end() if matches else 0
        if cut := _CUT[escape].search(data, max(done, len(data) - _LONGEST_ESCAPE)):
            self.complete = cut.start()
        if matches and done == self.complete and _HALF.fullmatch(matches[-1][0]):
            self.complete = matches.pop().start()  # the other half of a pair may come
        pieces: list[bytes] = []
        end = size = 0
        for match in matches:
            value = _value(match)
            pieces += (data[end : match.start()], value)
            size += match.start() - end + len(value)
            end = match.end()
            self._escapes.append(_Escape(match.start(), end, size - len(value), size))
        self.text = b"".join((*pieces, data[end : self.complete]))

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return where in the stream a part of the view stands, whole escapes at its ends."""
        return self._origin(start)[0], self._origin(end - 1)[1]

    def _origin(self, at: int) -> tuple[int, int]:
        index = bisect_right(self._view_starts, at) - 1
        if index < 0:
            return at, at + 1
        escape = self._escapes[index]
        if at < escape.view_end:
            return escape.start, escape.end
        place = escape.end + at - escape.view_end
        return place, place + 1

    def border(self, at: int) -> int:
        """Return the same place in the stream, or the beginning of the escape in whose middle it is."""
        index = bisect_right(self._starts, at) - 1
        return self._escapes[index].start if index >= 0 and at < self._escapes[index].end else at


def _value(match: re.Match[bytes]) -> bytes:
    if match.re is not _JSON:
        return bytes([int(match[1], 16)]) if match[1] else b" "
    high, low, single, sign = match.groups()
    if sign:
        return bytes([_JSON_SIGNS[sign[0]]])
    if single:
        return chr(int(single, 16)).encode("utf-8", "surrogatepass")
    return chr(0x10000 + (int(high, 16) - 0xD800 << 10) + int(low, 16) - 0xDC00).encode()


def _beginning(text: bytes, pattern: bytes) -> int | None:
    """Return where a suffix of the text starts that is a beginning of the pattern."""
    at = max(len(text) - len(pattern) + 1, 0)
    while (at := text.find(pattern[:1], at)) >= 0:
        if pattern.startswith(text[at:]):
            return at
        at += 1
    return None


class Forms:
    """Everything that betrays some secrets, made once and shared by the scrubbers of many streams."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self.patterns = sorted({form for secret in secrets for form in forms(secret)})
        used = set(b"".join(self.patterns))
        self.blot = bytes([next((sign for sign in _BLOTS if sign not in used), _BLOTS[0])])
        self.spaces = any(b" " in pattern for pattern in self.patterns)
        self.glance = Glance(self.patterns)


class Scrubber:
    """Blots the secrets out of one stream. `hits` counts what was found."""

    def __init__(self, secrets: Forms | Iterable[bytes]) -> None:
        known = secrets if isinstance(secrets, Forms) else Forms(secrets)
        self._patterns = known.patterns
        self._blot = known.blot
        self._spaces = known.spaces
        self._glance = known.glance
        self._held = b""
        self._blotted = 0
        self.hits = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that may pass."""
        return self._pass(data, last=False) if self._patterns else data

    def finish(self) -> bytes:
        """End the stream; return what was held back."""
        return self._pass(b"", last=True) if self._held else b""

    def whole(self, data: bytes) -> bytes:
        """Blot out of something that is complete, a header's value or a name."""
        if self._glance.certain and not self._held and not self._glance.finds(data):
            return data
        return self.feed(data) + self.finish()

    def _pass(self, data: bytes, *, last: bool) -> bytes:
        stream = self._held + data if self._held else data
        if self._glance.certain and not last and not self._blotted and not self._glance.finds(stream):
            end = self._glance.end(stream)
            if not _CROSSED.search(stream, max(end - _LONGEST_ESCAPE, 0), end):
                self._held = stream[end:]
                return stream[:end]
        views = list(self._views(stream))
        found = [view.origin(at, at + len(pattern)) for view in views for at, pattern in self._occurrences(view.text)]
        end = len(stream) if last else self._safe_end(stream, views)
        out = bytearray(stream[:end])
        blotted = self._blotted
        for start, stop in [(0, self._blotted), *found]:
            if start < min(stop, end):
                out[start : min(stop, end)] = self._blot * (min(stop, end) - start)
                blotted = max(blotted, stop)
        self.hits += len({start for start, _ in found if start < end})
        self._held = stream[end:]
        self._blotted = max(blotted - end, 0)
        return bytes(out)

    def _views(self, data: bytes) -> Iterator[_View]:
        yield _View(data)
        if b"%" in data:
            yield _View(data, _PERCENT)
        if self._spaces and b"+" in data:
            yield _View(data, _FORM)
        if b"\\" in data:
            yield _View(data, _JSON)

    def _occurrences(self, text: bytes) -> Iterator[tuple[int, bytes]]:
        for pattern in self._patterns:
            at = text.find(pattern)
            while at >= 0:
                yield at, pattern
                at = text.find(pattern, at + 1)

    def _safe_end(self, stream: bytes, views: list[_View]) -> int:
        """Return up to where the stream cannot belong to a form that is still to be completed."""
        end = len(stream)
        for view in views:
            end = min(end, view.complete)
            for pattern in self._patterns:
                if (at := _beginning(view.text, pattern)) is not None:
                    end = min(end, view.origin(at, at + 1)[0])
        before = -1
        while before != end:  # no view may lose the first half of an escape
            before, end = end, min(view.border(end) for view in views)
        return end
