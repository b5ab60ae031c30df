from __future__ import annotations

from typing import Any

import pytest

from tickover.core.built import NOT_BUILT, Verb, not_yet
from tickover.core.definition import Routine


def asks(verb: Verb, **keys: Any) -> list[str]:
    routine = Routine.model_validate({"name": "r", "agent": "steps", **keys})
    return [error.where.key or "" for error in not_yet(routine, verb) if error.where]


REPO = {"a": {"url": "https://x.test/a"}}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"agent": "command", "argv": ["x"]},
        {"agent": "remote", "remote": {"to": "http", "url": "https://a.test/x"}},
        {"inputs": {"a": {"type": "string"}}, "skill": "s", "state": True, "artifacts": ["*"], "only_if": {"run": "x"}},
        {"repositories": {"a": {"url": "https://x.test/a", "ref": "main", "trusted_ref": "main"}}},
        {"environment": {"base": "host", "setup": {"run": "x"}, "network": "none", "env": {"A": "b"}}},
        {"environment": {"network": [], "credentials": ["c"]}},
        {"may": [{"request": {"to": "POST https://a.test/"}}], "expect": [{"receipt": {"to": "POST https://a.test/"}}]},
        {"may": [{"push": {"repo": "a", "refs": ["x/*"]}}], "repositories": {"a": {"url": "https://x.test/a"}}},
        {"environment": {"network": ["packages", "a.test", "*.b.test:8443"]}},
        {"environment": {"network": "observe"}},
        {"connectors": {"slack": {"tools": ["post_message"]}}, "may": [{"slack": {"tool": "post_message", "max": 1}}]},
        {"connectors": {"mail": {"tools": ["send"], "required": ["send"]}}, "may": [{"mail": {"tool": "send"}}]},
        {"expect": [{"sql": {"connector": "d", "query": "select 1"}}], "connectors": {"d": {}}},
        {"expect": [{"slack": {"channel": "C0ENG"}}, {"github": {"repo": "acme/app", "pull": 7, "review_by": "bot"}}]},
        {"limits": {"timeout": "1m", "memory": "1GiB", "cpus": 1, "pids": 9, "disk": "1GiB", "output": "1MiB"}},
        {"limits": {"cost_usd": 1, "tokens": 1}},
        {"retry": {"attempts": 3}, "isolation": "sandbox", "task": "Carry out the routine.", "watch": {"init": "30s"}},
        {"expect": [{"file": {"path": "a"}}, {"command": {"run": "x"}}, {"output": {"schema": "a"}}]},
        {"expect": [{"http": {"url": "https://a.test", "within": "1m"}}], "repositories": REPO},
        {"noop": [{"git": {"repo": "a", "ref": "m"}}], "repositories": REPO},
        {"on": [{"api": {}}], "notify": [{"on": ["failed"], "to": "x"}], "overlap": "queue", "require_eval": True},
    ],
)
def test_what_run_can_do(keys: dict[str, Any]) -> None:
    assert asks("run", **keys) == []


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"agent": "acp@1", "argv": ["x"]}, "agent"),
        ({"agent": "acp", "argv": ["x"], "model": "m"}, "model"),
        ({"agent": "acp", "argv": ["x"], "limits": {"tokens": 9}}, "limits.tokens"),
        ({"agent": "steps@1"}, "agent"),
        ({"model": "m"}, "model"),
        ({"task": "Other."}, "task"),
        ({"isolation": "microvm"}, "isolation"),
        ({"environment": {"base": "debian:12"}}, "environment.base"),
        ({"watch": {"init": "1s"}}, "watch"),
        ({"noop": [{"judge": {"prompt": "x"}}]}, "noop[0].judge"),
    ],
)
def test_what_run_cannot_do_yet(keys: dict[str, Any], place: str) -> None:
    assert asks("run", **keys) == [place]


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"require_eval": True}, "require_eval"),
        ({"environment": {"network": "observe"}}, "environment.network"),
    ],
)
def test_what_only_a_server_needs(keys: dict[str, Any], place: str) -> None:
    assert asks("run", **keys) == []
    assert asks("push", **keys) == asks("up", **keys) == [place]


def test_what_a_server_can_do() -> None:
    keys: dict[str, Any] = {
        "on": [
            {"schedule": {"cron": "daily"}},
            {"api": {}},
            {"webhook": {"verify": {"token": {"header": "x"}, "secret": "s"}}},
        ],
        "notify": [{"on": ["failed"], "to": "x"}],
        "overlap": "queue",
        "priority": 1,
        "limits": {"concurrent": 2, "runs_per_day": 1, "min_interval": "1h", "cost_usd_per_day": 1},
    }
    assert (asks("run", **keys), asks("push", **keys), asks("up", **keys)) == ([], [], [])


def test_the_error_names_the_key() -> None:
    [error] = not_yet(Routine.model_validate({"name": "r", "agent": "acp@1", "argv": ["x"]}), "run")
    assert (error.code, error.exit_code) == ("not_yet: agent", 2)


def test_a_key_stands_once_in_the_table() -> None:
    keys = [need.key for need in NOT_BUILT]
    assert len(keys) == len(set(keys))
