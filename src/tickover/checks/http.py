"""The check `http`: an address answers as it should, asked from the host after the agent ended."""

from __future__ import annotations

import json
from typing import ClassVar

from pydantic import JsonValue

from tickover.checks.base import Answer, Hands, HttpAnswer
from tickover.core.check import HttpCheck
from tickover.core.document import DocumentError, read_json
from tickover.core.evidence import CheckResult
from tickover.core.matcher import Clause

TIMEOUT_S = 30.0


class Check:
    """Gets the address and looks at status, text and JSON, in this order."""

    kind: ClassVar[str] = "http"

    async def evaluate(self, definition: HttpCheck, hands: Hands) -> Answer:
        answer = await hands.http_get(definition.url, timeout_s=TIMEOUT_S)
        result, says = _judge(definition, answer)
        detail: dict[str, JsonValue] = {
            "url": answer.url or definition.url,
            "status": answer.status,
            "bytes": len(answer.body),
            "truncated": answer.truncated,
        }
        return Answer(result, f"{definition.url} {says}", detail, _record(definition.url, answer))


def _judge(definition: HttpCheck, answer: HttpAnswer) -> tuple[CheckResult, str]:
    if not definition.status.matches(answer.status):
        to = answer.headers.get("location")
        return CheckResult.FAIL, f"answers {answer.status}" + (f" and points to {to}" if to else "")
    if definition.contains is not None and definition.contains.encode() not in answer.body:
        if answer.truncated:
            return CheckResult.ERROR, f"answers more than the {len(answer.body)} bytes that are read, without the text"
        return CheckResult.FAIL, f"answers {answer.status} without the text “{definition.contains}”"
    if definition.json_ is not None:
        if answer.truncated:
            return CheckResult.ERROR, f"answers more than the {len(answer.body)} bytes that are read as JSON"
        try:
            document = read_json(answer.body)
        except DocumentError as error:
            return CheckResult.FAIL, f"answers {answer.status} with a body that is no JSON: {error}"
        wrong = [clause for clause in definition.json_.explain(document) if not clause.ok]
        if not definition.json_.matches(document):
            return CheckResult.FAIL, f"answers {answer.status}, but {_first(wrong)}"
    return CheckResult.PASS, f"answers {answer.status}" + (" as it should" if _asks_more(definition) else "")


def _first(wrong: list[Clause]) -> str:
    return str(wrong[0]).strip().removeprefix("✗ ") if wrong else "its JSON does not match"


def _asks_more(definition: HttpCheck) -> bool:
    return definition.contains is not None or definition.json_ is not None


def _record(asked: str, answer: HttpAnswer) -> bytes:
    head = {"asked": asked, "url": answer.url, "status": answer.status, "headers": dict(answer.headers)}
    return json.dumps(head).encode() + b"\n\n" + answer.body
