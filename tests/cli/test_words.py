from __future__ import annotations

import pytest

from tickover.cli.words import ago, counted, size, span


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"), (-1, "0 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"),
        (61.4, "1 min 1 s"), (3599.6, "1 h 0 min"), (90_061, "25 h 1 min"),
    ],
)  # fmt: skip
def test_span(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "now"), (4.9, "now"), (59, "59 s ago"), (60, "1 min ago"), (7199, "1 h ago"), (86_400, "1 day ago"),
        (200_000, "2 days ago"), (-90, "in 1 min"),
    ],
)  # fmt: skip
def test_ago(seconds: float, words: str) -> None:
    assert ago(1_000_000 - seconds, 1_000_000) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_048_575, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (9 << 50, "9216.0 TiB"),
    ],
)
def test_size(count: int, words: str) -> None:
    assert size(count) == words


def test_counted() -> None:
    assert [counted(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
