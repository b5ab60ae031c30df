"""The check `sql`: a query of a connected database has so many rows. Of the answer, nothing else is ever read."""

from __future__ import annotations

from typing import ClassVar

from pydantic import JsonValue

from tickover.checks.base import Answer, Hands, verdict
from tickover.core.check import SqlCheck
from tickover.core.evidence import CheckResult
from tickover.core.sql import MOST_ROWS


class Check:
    """Counts the rows."""

    kind: ClassVar[str] = "sql"

    async def evaluate(self, definition: SqlCheck, hands: Hands) -> Answer:
        rows = await hands.count_rows(definition.connector, definition.query, definition.values)
        detail: dict[str, JsonValue] = {"connector": definition.connector, "rows": rows}
        if rows > MOST_ROWS:
            return Answer(CheckResult.ERROR, f"{definition.connector} has more than {MOST_ROWS} such rows", detail)
        wrong = [clause for clause in definition.rows.explain(rows) if not clause.ok]
        says = f", but {str(wrong[0]).removeprefix('✗ ')}" if wrong else ""
        text = f"{definition.connector} has {rows} such row(s){says}"
        return Answer(verdict(definition.rows.matches(rows)), text, detail)
