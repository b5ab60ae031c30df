from __future__ import annotations

import pytest

from tickover.agents.report import read_report
from tickover.core.event import FindingReported, ReportClaimed
from tickover.core.status import ClaimStatus


def test_a_report_is_a_claim() -> None:
    claim = read_report(b'{"status": "noop", "summary": "nothing new", "proof": "trust me"}')
    assert claim == ReportClaimed(status=ClaimStatus.NOOP, summary="nothing new")


def test_a_long_summary_is_cut() -> None:
    claim = read_report(b'{"status": "done", "summary": "' + b"x" * 5000 + b'"}')
    assert isinstance(claim, ReportClaimed)
    assert len(claim.summary) == 2000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"noop",
        b"[]",
        b"{}",
        b'{"status": "verified"}',
        b'{"status": ["noop"]}',
        b'{"status": "noop", "summary": 7}',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"status": "noop", "summary": "' + b"x" * 70_000 + b'"}',
    ],
)
def test_anything_else_is_a_finding_that_fails_nothing(data: bytes) -> None:
    finding = read_report(data)
    assert isinstance(finding, FindingReported)
    assert finding.code == "report_malformed"
    assert not finding.required
    assert finding.detail["why"]
