from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tickover.core.definition import Environment, FrontMatter, Routine, settings


def test_the_smallest_routine_has_the_grammar_s_defaults() -> None:
    routine = Routine.model_validate({"name": "r", "agent": "steps"})
    shown = {key: value for key, value, _ in settings(routine)}
    assert shown == {
        "name": "r",
        "description": "",
        "agent": "steps",
        "argv": None,
        "remote": None,
        "model": None,
        "skill": None,
        "task": "Carry out the routine.",
        "system_prompt": "append",
        "isolation": "sandbox",
        "inputs": {},
        "repositories": {},
        "environment.base": "host",
        "environment.setup.run": None,
        "environment.setup.files": [],
        "environment.setup.refresh": "7d",
        "environment.network": "none",
        "environment.env": {},
        "environment.credentials": [],
        "connectors": {},
        "on": [],
        "may": [],
        "expect": [],
        "noop": [],
        "only_if": None,
        "notify": [],
        "limits.timeout": "1h",
        "limits.concurrent": 1,
        "limits.cost_usd": None,
        "limits.tokens": None,
        "limits.runs_per_day": None,
        "limits.min_interval": None,
        "limits.cost_usd_per_day": None,
        "limits.memory": "2GiB",
        "limits.cpus": 2,
        "limits.pids": 512,
        "limits.disk": "5GiB",
        "limits.output": "64MiB",
        "retry.attempts": 1,
        "retry.backoff": "30s",
        "retry.when": ["infrastructure", "model_overloaded"],
        "watch.init": "30s",
        "watch.first_answer": "2m",
        "watch.progress": "10m",
        "overlap": "skip",
        "priority": 0,
        "artifacts": ["out/**"],
        "state": False,
        "require_eval": False,
        "approve": [],
    }
    assert [setting.key for setting in settings(routine) if setting.given] == ["name", "agent"]


def test_settings_go_into_every_entry() -> None:
    routine = Routine.model_validate(
        {
            "name": "r",
            "agent": "steps",
            "on": [{"api": {}}, {"github": {"repo": "a/b", "input": {"a": "$.a", "b": {"file": "$.b"}}}}],
            "may": [{"slack": {"tool": "post_message", "channels": ["C0"]}}],
            "expect": [{"command": {"run": "x"}}],
        }
    )
    shown = {key: (value, given) for key, value, given in settings(routine)}
    assert shown["on[0].api"] == ({}, True)
    assert shown["on[1].github.input"] == ({"a": "$.a", "b": {"file": "$.b"}}, True)
    assert shown["on[1].github.from_fork"] == (False, False)
    assert shown["may[0].slack.channels"] == (["C0"], True)
    assert shown["may[0].slack.max"] == (None, False)
    assert shown["expect[0].command.timeout"] == ("1m", False)
    assert shown["expect[0].command.subject.run"] == (False, False)


def test_a_fork_s_event_is_refused_only_where_something_may_be_written() -> None:
    routine = Routine.model_validate({"name": "r", "agent": "steps", "on": [{"github": {"repo": "a/b"}}]})
    assert {key: value for key, value, _ in settings(routine)}["on[0].github.from_fork"] is None


def test_an_agent_may_be_pinned() -> None:
    routine = Routine.model_validate({"name": "r", "agent": "claude-code@2.1.197"})
    assert (routine.agent_name, routine.agent_version) == ("claude-code", "2.1.197")
    assert Routine.model_validate({"name": "r", "agent": "steps"}).agent_version is None


def test_a_definition_does_not_change() -> None:
    routine = Routine.model_validate({"name": "r", "agent": "steps"})
    with pytest.raises(ValidationError):
        routine.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("key", ["body", "body_line", "in_", "kind", "_kind", "EXACTLY_ONE", "model_config"])
def test_nothing_of_ours_is_a_key(key: str) -> None:
    with pytest.raises(ValidationError):
        FrontMatter.model_validate({"name": "r", "agent": "steps", key: "x"})


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "Upper"},
        {"name": ""},
        {"name": "a" * 65},
        {"agent": "steps@"},
        {"agent": "claude"},
        {"description": "two\nlines"},
        {"artifacts": ["../x"]},
        {"artifacts": ["/x"]},
        {"state": "yes"},
        {"state": 1},
        {"priority": "1"},
        {"priority": 1.5},
        {"inputs": {"a": {"type": "date"}}},
        {"inputs": {"a": {"type": "string", "default": ["x"]}}},
        {"argv": []},
        {"argv": "x y"},
        {"notify": [{"on": [], "to": "x"}]},
        {"notify": [{"on": ["green"], "to": "x"}]},
        {"approve": [{}]},
        {"only_if": "x"},
        {"only_if": {"run": "  "}},
        {"skill": "../x"},
        {"model": {"name": "a"}},
        {"remote": {"to": "http", "url": "https://u:p@a.test"}},
    ],
)
def test_values_of_another_form_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FrontMatter.model_validate({"name": "r", "agent": "steps", **keys})


@pytest.mark.parametrize(
    "environment",
    [
        {"network": ["*"]},
        {"network": ["https://a.test"]},
        {"network": ["a.test:99999999"]},
        {"network": ["A.test"]},
        {"network": "packages"},
        {"env": {"A": 1}},
        {"env": {"1A": "x"}},
        {"setup": {"files": ["/etc/passwd"]}},
        {"setup": {"files": ["a:../x"]}},
        {"setup": {"files": ["a/../../x"]}},
        {"setup": "x"},
        {"credentials": ["A"]},
    ],
)
def test_environments_that_are_refused(environment: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Environment.model_validate(environment)
