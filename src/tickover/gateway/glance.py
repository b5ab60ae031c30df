"""A first look at a stream, fast: may a form of a secret begin in it? Only if so is it read closely (scrub.py).

One RE2 automaton knows the first signs of every form, each as it is, percent-encoded or escaped as in JSON, in any
mixture. It may say yes too often, never no too often.
"""

from __future__ import annotations

from collections.abc import Iterable

import re2

LONGEST_KEY = 8
SHORTEST_KEY = 4
"""Signs of a form that are looked for; one that begins with fewer ASCII signs is always read closely."""
_LONGEST_SIGN = 6
_JSON_SIGNS = {ord(sign): letter for sign, letter in zip('"\\/\b\f\n\r\t', '"\\/bfnrt', strict=True)}


class Glance:
    """Compiled for some forms. `certain` if nothing must be read closely without a look."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        keys = sorted({_key(form) for form in forms})
        self.certain = bool(keys) and min(map(len, keys)) >= SHORTEST_KEY
        if not self.certain:
            return
        self._whole = _compiled("|".join("".join(map(_sign, key)) for key in keys))
        self._begun = _compiled("|".join(map(_beginning, keys)))
        self._reach = LONGEST_KEY * _LONGEST_SIGN

    def finds(self, stream: bytes) -> bool:
        """Say whether a form may stand in the stream, or has begun with all the signs that are looked for."""
        return self._whole.search(stream) is not None

    def end(self, stream: bytes) -> int:
        """Return up to where the stream cannot belong to a form that has begun with fewer signs."""
        start = max(len(stream) - self._reach, 0)
        found = self._begun.search(stream[start:])
        return start + found.start() if found else len(stream)


def _key(form: bytes) -> bytes:
    ascii_run = next((at for at, sign in enumerate(form) if sign > 127), len(form))
    return form[: min(ascii_run, LONGEST_KEY)]


def _spellings(sign: int) -> list[str]:
    """Return the ways to write an ASCII sign, as lists of RE2 classes that match a byte each."""
    number = f"{sign:02x}"
    found = [[_byte(sign)], [_byte(0x25), *map(_digit, number)]]
    found.append([_byte(0x5C), _byte(0x75), _byte(0x30), _byte(0x30), *map(_digit, number)])
    if sign in _JSON_SIGNS:
        found.append([_byte(0x5C), _byte(ord(_JSON_SIGNS[sign]))])
    if sign == 0x20:
        found.append([_byte(0x2B)])
    return ["\0".join(each) for each in found]


def _sign(sign: int) -> str:
    return f"(?:{'|'.join(each.replace(chr(0), '') for each in _spellings(sign))})"


def _cut(sign: int) -> str:
    """Match a sign whose last bytes are missing, at the end of the stream."""
    cuts = {
        "".join(parts[:count])
        for each in _spellings(sign)
        for parts in [each.split("\0")]
        for count in range(1, len(parts))
    }
    return f"(?:{'|'.join(sorted(cuts))})\\z"


def _beginning(key: bytes) -> str:
    """Match any beginning of the key, but not all of it, at the end of the stream."""
    found = _cut(key[-1])
    for sign in reversed(key[:-1]):
        found = f"(?:{_cut(sign)}|{_sign(sign)}(?:\\z|{found}))"
    return found


def _byte(value: int) -> str:
    return f"\\x{value:02x}"


def _digit(digit: str) -> str:
    return f"[{digit}{digit.upper()}]" if digit.isalpha() else _byte(ord(digit))


def _compiled(pattern: str) -> re2._Regexp[bytes]:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = 1 << 24
    return re2.compile(pattern.encode("ascii"), options)
