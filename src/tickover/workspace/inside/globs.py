"""Globs over relative paths: `*`, `?` and `[...]` within one part, `**` for any number of parts.

A trailing `**` means everything below, not the folder itself. Names that start with a dot are no exception.
"""

from __future__ import annotations

import functools
import re
from fnmatch import translate
from typing import Any, Pattern, Sequence  # noqa: UP035 - Python 3.8 runs this too


@functools.lru_cache(maxsize=1024)
def _part(pattern: str) -> Pattern[str]:
    return re.compile(translate(pattern))


class Globs:
    """Several patterns at once. `exact` ones are taken as they are, wildcards included."""

    def __init__(self, patterns: Sequence[str], exact: bool = False) -> None:
        self._patterns: list[tuple[str, ...]] = [tuple(pattern.split("/")) for pattern in patterns]
        self._exact = exact

    def states(self, parts: Sequence[str]) -> Any:
        """Return where in each pattern a path of these parts may stand; for `step`."""
        state = self.start()
        for part in parts:
            state = self.step(state, part)
        return state

    def start(self) -> Any:
        return frozenset((number, place) for number in range(len(self._patterns)) for place in self._skips(number, 0))

    def step(self, state: Any, part: str) -> Any:
        """Return the state one part further down."""
        after: set[tuple[int, int]] = set()
        for number, place in state:
            pattern = self._patterns[number]
            if place == len(pattern):
                continue
            word = pattern[place]
            if word == "**" and not self._exact:
                after.update((number, spot) for spot in self._skips(number, place))
                if place == len(pattern) - 1:
                    after.add((number, place + 1))
            elif self._fits(word, part):
                after.update((number, spot) for spot in self._skips(number, place + 1))
        return frozenset(after)

    def _skips(self, number: int, place: int) -> list[int]:
        """Return the places reachable without a part: `**` in the middle may stand for nothing."""
        pattern = self._patterns[number]
        places = [place]
        while not self._exact and place < len(pattern) - 1 and pattern[place] == "**":
            place += 1
            places.append(place)
        return places

    def _fits(self, word: str, part: str) -> bool:
        return word == part if self._exact else _part(word).match(part) is not None

    def matches(self, state: Any) -> bool:
        """Whether the path itself is meant."""
        return any(place == len(self._patterns[number]) for number, place in state)

    def leads_on(self, state: Any) -> bool:
        """Whether something below may be meant."""
        return any(place < len(self._patterns[number]) for number, place in state)

    def named(self, state: Any, depth: int) -> bool:
        """Whether a path of `depth` parts stands, word for word, at the beginning of a pattern that goes on below."""
        for number, place in state:
            words = self._patterns[number][:place]
            plain = self._exact or not any(set(word) & set("*?[") for word in words)
            if place == depth < len(self._patterns[number]) and plain:
                return True
        return False

    def match(self, path: str) -> bool:
        """Whether the whole path is meant."""
        return self.matches(self.states(path.split("/")))
