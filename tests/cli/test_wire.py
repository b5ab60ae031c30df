from __future__ import annotations

import json

from tickover.cli.wire import FORMAT, event_json, iso, row_json
from tickover.core.row import RunRow
from tickover.testing.stories import FAILED, RETRIED, START, VERIFIED, folded, journal


def test_iso_is_utc_with_microseconds() -> None:
    assert iso(START + 0.25) == "2026-11-18T11:06:40.250000Z"
    assert iso(None) is None


def test_a_row_has_its_form_s_number_and_absolute_times() -> None:
    told = row_json(folded(RETRIED))
    assert (told["format"], told["created"]) == (FORMAT, "2026-11-18T11:06:40.000000Z")
    assert told["finished"] == "2026-11-18T11:06:44.000000Z"
    assert told["attempts"][0]["phases"] == [
        {"phase": "preflight", "started": "2026-11-18T11:06:41.000000Z", "duration_s": 0.25}
    ]
    assert told["attempts"][1]["started"].endswith("Z")


def test_nothing_of_a_row_is_left_out() -> None:
    told = row_json(folded(FAILED))
    assert set(told) == {"format", *RunRow.model_fields}
    assert [(each["evidence_class"], each["result"], each["vacuous"]) for each in told["evidence"]] == [
        ("state", "fail", False), ("artifact", "pass", True), ("artifact", "error", False),
    ]  # fmt: skip
    assert told["findings"][1]["finding"]["required"] is True
    json.dumps(told, allow_nan=False)


def test_an_event_keeps_its_envelope_and_its_data() -> None:
    first = event_json(journal(VERIFIED)[0])
    assert (first["seq"], first["type"], first["at"]) == (1, "run_created", "2026-11-18T11:06:40.000000Z")
    assert first["data"]["routine"] == "count"


def test_the_time_of_a_retry_is_absolute_too() -> None:
    retry = next(event for event in journal(RETRIED) if event.type == "retry_scheduled")
    assert event_json(retry)["data"]["at"] == "2026-11-18T11:08:20.000000Z"
