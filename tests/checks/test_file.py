from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest

from tickover.checks.base import Answer, SubjectFile, ask
from tickover.checks.file import LARGEST_COMPARED
from tickover.checks.file import Check as FileAdapter
from tickover.core.check import FileCheck
from tickover.core.evidence import CheckResult, EvidenceClass
from tickover.testing.check_suite import HOSTILE_BYTES, Case, CheckSuite
from tickover.testing.hands import FakeHands

LARGE = SubjectFile("too_large", size=LARGEST_COMPARED + 1, written=True)


def definition(**keys: Any) -> FileCheck:
    return FileCheck.model_validate({"path": "out/a.txt", **keys})


class TestConformance(CheckSuite):
    def check(self) -> FileAdapter:
        return FileAdapter()

    def passing(self) -> Case:
        return definition(equals="grün\n"), FakeHands(subject={"out/a.txt": "grün\n".encode()})

    def failing(self) -> Case:
        return definition(equals="green"), FakeHands(subject={"out/a.txt": b"green\n"})

    def unknowable(self) -> Case:
        return definition(equals="green"), FakeHands(subject={"out/a.txt": LARGE})

    def hostile(self) -> Sequence[Case]:
        files: list[bytes | SubjectFile] = [*HOSTILE_BYTES, SubjectFile("refused", reason="a symbolic link\x1b[31m")]
        return [(definition(equals="pass"), FakeHands(subject={"out/a.txt": each})) for each in files]


async def said(check: FileCheck, hands: FakeHands) -> Answer:
    return await ask(FileAdapter(), check, hands, scope={})


GOOD = FakeHands(subject={"out/a.txt": b"good"}, pinned={"want.txt": b"good", "other.txt": b"goog"})


@pytest.mark.parametrize(
    ("keys", "result", "summary"),
    [
        ({}, "pass", "out/a.txt has 4 bytes"),
        ({"path": "out/b.txt"}, "fail", "out/b.txt is not there"),
        ({"min_bytes": 4}, "pass", "out/a.txt has 4 bytes"),
        ({"min_bytes": 5}, "fail", "out/a.txt has 4 bytes, less than 5"),
        ({"same_as": "want.txt"}, "pass", "out/a.txt equals want.txt"),
        ({"same_as": "other.txt"}, "fail", "out/a.txt differs from other.txt"),
        ({"same_as": "no.txt"}, "error", "checks/ has no no.txt"),
        ({"sha256": hashlib.sha256(b"good").hexdigest()}, "pass", "out/a.txt equals sha256"),
        ({"sha256": "0" * 64}, "fail", "out/a.txt differs from sha256"),
        ({"equals": "good", "min_bytes": 5}, "fail", "out/a.txt has 4 bytes, less than 5"),
    ],
)
async def test_what_it_says(keys: dict[str, Any], result: str, summary: str) -> None:
    answer = await said(definition(**keys), GOOD)
    assert (answer.result, answer.summary) == (result, summary)


async def test_an_empty_text_is_compared_too() -> None:
    assert (await said(definition(equals=""), GOOD)).result is CheckResult.FAIL
    assert (await said(definition(equals=""), FakeHands(subject={"out/a.txt": b""}))).result is CheckResult.PASS


async def test_size_alone_is_never_read_into_memory() -> None:
    answer = await said(definition(min_bytes=10), FakeHands(subject={"out/a.txt": LARGE}))
    assert (answer.result, answer.detail["size"]) == (CheckResult.PASS, LARGE.size)


def test_existence_is_a_claim_and_a_comparison_is_more() -> None:
    assert definition(min_bytes=1).evidence is EvidenceClass.CLAIM
    assert definition(equals="").evidence is EvidenceClass.ARTIFACT
