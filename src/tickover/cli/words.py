"""Amounts in words for people: how long, how long ago, how much. Programs get the numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((86400, "day"), (3600, "h"), (60, "min"))
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def span(seconds: float) -> str:
    """Return a duration: `3 ms`, `1.4 s`, `2 min 5 s`, `3 h 12 min`."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def ago(then: float, now: float) -> str:
    """Return how long ago, or how soon, in one unit."""
    seconds = abs(now - then)
    if seconds < 5:
        return "now"
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    number = int(seconds // size)
    words = f"{number} {unit}{'s' if unit == 'day' and number > 1 else ''}"
    return f"{words} ago" if then < now else f"in {words}"


def size(count: int) -> str:
    """Return an amount of bytes: `340 B`, `12.0 KiB`, `1.5 GiB`."""
    if count < 1024:
        return f"{count} B"
    power = next((power for power in (1, 2, 3) if count < 1023.95 * 1024**power), 4)
    return f"{count / 1024**power:.1f} {_SIZES[power]}"


def counted(number: int, noun: str) -> str:
    """Return `1 run`, `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def moment(then: float, now: float) -> str:
    """Return a moment in UTC and how far it is: `2026-11-24 09:00:00 UTC, in 3 h`."""
    return f"{datetime.fromtimestamp(then, UTC):%Y-%m-%d %H:%M:%S} UTC, {ago(then, now)}"
