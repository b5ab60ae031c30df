from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from tickover.core.limits import Duration, Limits, Retry, Size, Watch
from tickover.core.retry import RETRY_WHEN


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("30s", 30), ("20m", 1200), ("4h", 14400), ("7d", 604800), ("3650d", 315360000)]
)
def test_a_duration_counts_in_seconds(text: str, seconds: int) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(("text", "count"), [("64KiB", 65536), ("512MiB", 512 << 20), ("2GiB", 2 << 30)])
def test_a_size_counts_in_bytes(text: str, count: int) -> None:
    assert Size.parse(text) == count
    assert str(Size.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["5", 5, "5 m", "1.5h", "-1s", "05m", "5M", "5m\n", "", "m", "1h30m", "3651d", None, True, "٣s"]
)
def test_a_number_without_its_unit_is_refused(text: Any) -> None:
    with pytest.raises(PydanticCustomError):
        Duration.parse(text)


@pytest.mark.parametrize("text", ["5", "5MB", "5G", "5mib", "1048577GiB"])
def test_a_size_in_other_units_is_refused(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        Size.parse(text)


@given(st.integers(0, 3650 * 86400))
def test_a_duration_is_written_so_that_it_reads_the_same(seconds: int) -> None:
    assert Duration.parse(str(Duration(seconds))) == seconds


def test_the_shortest_exact_writing() -> None:
    assert [str(Duration(seconds)) for seconds in (0, 90, 60, 3600, 86400, 90061)] == [
        "0s",
        "90s",
        "1m",
        "1h",
        "1d",
        "90061s",
    ]


def test_the_defaults_are_the_grammar_s() -> None:
    assert Limits().model_dump(mode="json") == {
        "timeout": "1h",
        "concurrent": 1,
        "memory": "2GiB",
        "cpus": 2,
        "pids": 512,
        "disk": "5GiB",
        "output": "64MiB",
    }
    assert Retry().model_dump(mode="json") == {
        "attempts": 1,
        "backoff": "30s",
        "when": ["infrastructure", "model_overloaded"],
    }
    assert Watch().model_dump(mode="json") == {"init": "30s", "first_answer": "2m", "progress": "10m"}


def test_every_cause_that_can_be_tried_again_can_be_named() -> None:
    assert Retry.model_validate({"when": list(RETRY_WHEN)}).when == tuple(RETRY_WHEN)
    with pytest.raises(ValidationError):
        Retry.model_validate({"when": ["budget"]})


@pytest.mark.parametrize(
    "limits",
    [
        {"timeout": "0s"},
        {"memory": "0MiB"},
        {"cpus": "2"},
        {"cpus": 0},
        {"pids": True},
        {"pids": 1.5},
        {"tokens": 0},
        {"memory": "15MiB"},
        {"disk": "1023KiB"},
    ],
)
def test_a_limit_of_nothing_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate(limits)
