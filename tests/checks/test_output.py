from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tickover.checks.base import SubjectFile, ask
from tickover.checks.output import OUTPUT_FILE, SchemaUnusable, compare
from tickover.checks.output import Check as OutputAdapter
from tickover.core.check import OutputCheck
from tickover.core.evidence import CheckResult, EvidenceClass
from tickover.testing.check_suite import HOSTILE_BYTES, Case, CheckSuite
from tickover.testing.hands import FakeHands

DEFINITION = OutputCheck.model_validate({"schema": "digest.schema.json"})
SCHEMA = {"type": "object", "required": ["ok"], "properties": {"ok": {"const": True}, "week": {"type": "integer"}}}


def case(output: bytes | SubjectFile | None, schema: bytes = json.dumps(SCHEMA).encode()) -> Case:
    subject = {} if output is None else {OUTPUT_FILE: output}
    return DEFINITION, FakeHands(subject=subject, pinned={"digest.schema.json": schema})


class TestConformance(CheckSuite):
    def check(self) -> OutputAdapter:
        return OutputAdapter()

    def passing(self) -> Case:
        return case(b'{"ok": true, "week": 7}')

    def failing(self) -> Case:
        return case(b'{"ok": false, "week": "seven"}')

    def unknowable(self) -> Case:
        return case(b'{"ok": true}', schema=b'{"type": "objekt"}')

    def hostile(self) -> Sequence[Case]:
        refused = SubjectFile("refused", reason="a symbolic link")
        stale = SubjectFile("file", b'{"ok": true}', 12, written=False)
        return [case(each) for each in (*HOSTILE_BYTES, refused, stale, None)]


@pytest.mark.parametrize(
    ("output", "result", "says"),
    [
        (b'{"week": "seven"}', "fail", f"{OUTPUT_FILE}: $ 'ok' is a required property (and 1 more)"),
        (b"{", "fail", f"{OUTPUT_FILE} is no JSON: Expecting property name enclosed in double quotes (line 1, column 2)"),
        (None, "fail", f"the agent wrote no {OUTPUT_FILE}"),
        (SubjectFile("too_large", size=9_000_000, written=True), "fail", f"{OUTPUT_FILE} is not read: 9000000 bytes, more than 1048576"),
    ],
)  # fmt: skip
async def test_what_it_says(output: bytes | SubjectFile | None, result: str, says: str) -> None:
    _, hands = case(output)
    answer = await ask(OutputAdapter(), DEFINITION, hands, scope={})
    assert (answer.result, answer.summary) == (CheckResult(result), says)


async def test_a_missing_schema_is_an_error() -> None:
    answer = await ask(OutputAdapter(), DEFINITION, FakeHands(subject={OUTPUT_FILE: b"{}"}), scope={})
    assert (answer.result, answer.summary) == (CheckResult.ERROR, "checks/ has no digest.schema.json")


def test_it_is_only_ever_a_claim() -> None:
    assert DEFINITION.evidence is EvidenceClass.CLAIM


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        ({"type": "objekt"}, "schema.invalid"),
        ([], "schema.invalid"),
        ({"$ref": "https://example.com/schema.json"}, "schema.invalid"),
        ({"$ref": "#/$defs/none"}, "schema.invalid"),
        ({"$ref": "#"}, "schema.invalid"),
        ({"pattern": "^(a+)+$"}, "schema.slow"),
    ],
)
async def test_a_schema_that_cannot_be_used_says_so(schema: Any, code: str) -> None:
    with pytest.raises(SchemaUnusable) as error:
        await compare(schema, "a" * 40 + "!", deadline_s=3 if code == "schema.slow" else 60)
    assert error.value.code == code
