from __future__ import annotations

from typing import Any

import pytest

from tickover.cli.contract import keys, sentence
from tickover.core.check import CHECKS
from tickover.core.trigger import ScheduleTrigger


@pytest.mark.parametrize(
    ("kind", "told", "words"),
    [
        ("file", {"path": "out/x"}, "out/x is there"),
        ("file", {"path": "out/x", "min_bytes": 3, "equals": "a\n"}, 'out/x has at least 3 bytes and is exactly "a\\n"'),
        ("file", {"path": "out/x", "same_as": "want.txt"}, "out/x is the same as checks/want.txt"),
        ("command", {"run": "python3 c.py"}, "`python3 c.py` exits 0"),
        (
            "command",
            {"run": "pytest", "subject": {"run": True, "restore": ["tests/**"]}},
            "`pytest` exits 0, which runs the workspace's own code under trusted copies of tests/**",
        ),
        ("output", {"schema": "s.json"}, "the agent's result fits checks/s.json"),
        (
            "git",
            {"repo": "app", "range": "a..main", "commits": 0, "within": "10m"},
            "the range a..main of app, in the remote, has commits: 0, within 10m",
        ),
        ("git", {"repo": "app", "in": "subject", "ref": "refs/heads/x"}, "the ref refs/heads/x of app exists in the clone the agent worked in"),
        ("git", {"repo": "app", "ref": "x", "exists": False}, "the ref x of app does not exist in the remote"),
        (
            "http",
            {"url": "https://a.test/x", "contains": "ok", "json": {"n": 1}},
            'GET https://a.test/x answers 200 and contains "ok" and its JSON has {"n": 1}',
        ),
        ("http", {"url": "https://a.test/", "status": 404, "guard": True}, "GET https://a.test/ answers 404 (guard: can fail a run, never verify it)"),
        ("receipt", {"to": "POST https://a.test/x", "count": 2}, "the gateway forwarded POST https://a.test/x 2 times"),
        ("judge", {"prompt": "Is it good?"}, "prompt Is it good?"),
        ("slack", {"channel": "C0", "contains": "hi"}, "channel C0, contains hi"),
    ],
)  # fmt: skip
def test_a_check_in_words(kind: str, told: dict[str, Any], words: str) -> None:
    assert sentence(CHECKS[kind].model_validate(told)) == words


def test_a_trigger_in_words() -> None:
    assert keys(ScheduleTrigger.model_validate({"cron": "0 9 * * mon", "time_zone": "Europe/Berlin"})) == (
        "cron 0 9 * * mon, time_zone Europe/Berlin"
    )
