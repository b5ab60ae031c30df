from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tickover.checks.base import ask
from tickover.checks.sql import Check as SqlAdapter
from tickover.core.check import SqlCheck
from tickover.core.sql import MOST_ROWS
from tickover.testing.check_suite import Case, CheckSuite
from tickover.testing.hands import FakeHands

QUERY = "SELECT 1 FROM orders WHERE id = $1"


def definition(**keys: Any) -> SqlCheck:
    return SqlCheck.model_validate({"connector": "shop", "query": QUERY, "values": ["7"], **keys})


def hands(rows: int) -> FakeHands:
    return FakeHands(rows={("shop", QUERY): rows})


class TestConformance(CheckSuite):
    def check(self) -> SqlAdapter:
        return SqlAdapter()

    def passing(self) -> Case:
        return definition(), hands(1)

    def failing(self) -> Case:
        return definition(), hands(0)

    def unknowable(self) -> Case:
        return definition(), hands(MOST_ROWS + 1)

    def hostile(self) -> Sequence[Case]:
        return [(definition(rows=2), hands(rows)) for rows in (0, 1, 3, MOST_ROWS)]


@pytest.mark.parametrize(
    ("rows", "found", "result"),
    [
        (1, 1, "pass"), (1, 2, "fail"), (0, 0, "pass"), ({"gte": 2}, 3, "pass"), ({"gte": 2}, 1, "fail"), ([1, 2], 2, "pass"),
        (MOST_ROWS + 1, MOST_ROWS + 1, "error"),
    ],
)  # fmt: skip
async def test_the_number_of_rows_decides(rows: Any, found: int, result: str) -> None:
    answer = await SqlAdapter().evaluate(definition(rows=rows), hands(found))
    assert (answer.result, answer.detail["rows"], answer.evidence) == (result, found, None)


async def test_what_comes_from_outside_is_a_value_and_no_part_of_the_query() -> None:
    there = hands(1)
    answer = await ask(
        SqlAdapter(), definition(values=["{{ inputs.id }}"]), there, scope={"inputs": {"id": "' OR 1=1 --"}}
    )
    assert answer.result == "pass"
    assert there.asked == [("count_rows", "shop", QUERY, ("' OR 1=1 --",))]
