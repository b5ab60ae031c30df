from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tickover.core.check import CHECKS, Check, CheckItem, render_check
from tickover.core.evidence import EvidenceClass
from tickover.core.template import TemplateError

ITEM: TypeAdapter[Check] = TypeAdapter(CheckItem)


@pytest.mark.parametrize(
    ("item", "evidence"),
    [
        ({"file": {"path": "a", "min_bytes": 1}}, "claim"),
        ({"file": {"path": "a", "equals": ""}}, "artifact"),
        ({"file": {"path": "a", "sha256": "0" * 64}}, "artifact"),
        ({"file": {"path": "a", "same_as": "b"}}, "artifact"),
        ({"command": {"run": "x"}}, "artifact"),
        ({"output": {"schema": "a.json"}}, "claim"),
        ({"git": {"repo": "a", "ref": "m"}}, "state"),
        ({"git": {"repo": "a", "ref": "m", "in": "subject"}}, "artifact"),
        ({"http": {"url": "https://a.test"}}, "state"),
        ({"receipt": {"to": "POST https://a.test/"}}, "claim"),
        ({"receipt": {"to": "POST https://a.test/", "request": {"json": {"a": 1}}}}, "effect"),
        ({"receipt": {"to": "GET https://a.test/"}}, "effect"),
        ({"sql": {"connector": "d", "query": "select 1"}}, "state"),
        ({"slack": {"channel": "C0"}}, "state"),
        ({"github": {"repo": "acme/app", "pull": 1}}, "state"),
        ({"judge": {"prompt": "ok?"}}, "claim"),
    ],
)
def test_a_check_knows_its_class_of_evidence(item: dict[str, Any], evidence: str) -> None:
    check = ITEM.validate_python(item)
    assert check.evidence is EvidenceClass(evidence)
    assert check.kind == next(iter(item))
    assert ITEM.validate_python(ITEM.dump_python(check)) == check


def test_only_state_can_be_waited_for() -> None:
    waiting = {kind for kind, check in CHECKS.items() if "within" in check.model_fields}
    assert waiting == {"git", "http", "sql", "slack", "github"}
    assert ITEM.validate_python({"http": {"url": "https://a.test", "within": "10m"}}).patience == 600
    assert ITEM.validate_python({"file": {"path": "a"}}).patience == 0


def test_a_receipt_has_no_stop_gate() -> None:
    gated = {kind for kind, check in CHECKS.items() if "stop_gate" in check.model_fields}
    assert set(CHECKS) - gated == {"receipt"}


@pytest.mark.parametrize(
    "item", [{}, {"file": {"path": "a"}, "git": {}}, {"fil": {"path": "a"}}, [], "file", None, {"file": None}]
)
def test_an_entry_is_a_map_with_one_known_kind(item: Any) -> None:
    with pytest.raises(ValidationError):
        ITEM.validate_python(item)


SCOPE = {
    "inputs": {
        "week": "last",
        "base": "http://127.0.0.1:9/x/",
        "evil": "a'; exit 0; '",
        "up": "../x",
        "text": "two words",
    },
    "event": {"id": "a/b", "text": "free text"},
    "run": {"id": "r1"},
    "state": {"last_commit": "abc"},
}


@pytest.mark.parametrize(
    ("item", "rendered"),
    [
        ({"file": {"path": "o/{{ inputs.week }}"}}, {"path": "o/last"}),
        ({"command": {"run": "x {{ run.id }}"}}, {"run": "x r1"}),
        ({"http": {"url": "https://a.test/{{ event.id }}"}}, {"url": "https://a.test/a%2Fb"}),
        ({"http": {"url": "{{ inputs.base }}/m"}}, {"url": "http://127.0.0.1:9/x/m"}),
        (
            {"http": {"url": "https://a.test", "contains": "{{ inputs.text }}", "json": {"a": ["{{ run.id }}", 1]}}},
            {"url": "https://a.test", "contains": "two words", "json": {"a": ["r1", 1]}},
        ),
        (
            {"git": {"repo": "a", "range": "{{ state.last_commit }}..main", "commits": 0}},
            {"repo": "a", "range": "abc..main", "commits": 0},
        ),
    ],
)
def test_a_run_s_values_take_their_places(item: dict[str, Any], rendered: dict[str, Any]) -> None:
    check = render_check(ITEM.validate_python(item), SCOPE)
    assert check.model_dump(mode="json", by_alias=True, exclude_unset=True) == rendered
    assert check.kind == next(iter(item))


@pytest.mark.parametrize(
    "item",
    [
        {"command": {"run": "test {{ inputs.evil }}"}},
        {"command": {"run": "test '{{ inputs.evil }}'"}},
        {"command": {"run": "test {{ inputs.text }}"}},
        {"file": {"path": "{{ inputs.up }}"}},
        {"git": {"repo": "a", "ref": "{{ inputs.text }}"}},
        {"http": {"url": "{{ inputs.evil }}/x"}},
        {"http": {"url": "https://a.test", "contains": "{{ event.text }}"}},
        {"http": {"url": "https://a.test", "contains": "{{ inputs.gone }}"}},
    ],
)
def test_a_value_that_is_unfit_is_an_error(item: dict[str, Any]) -> None:
    with pytest.raises(TemplateError):
        render_check(ITEM.validate_python(item), SCOPE)


def test_a_check_without_templates_is_itself() -> None:
    check = ITEM.validate_python({"file": {"path": "a"}})
    assert render_check(check, {}) is check
