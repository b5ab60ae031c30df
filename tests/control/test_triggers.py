from __future__ import annotations

from typing import Any

from tickover.control.triggers import Installed, Triggers
from tickover.core.definition import Routine
from tickover.testing.store_suite import ManualClock

ON: list[dict[str, Any]] = [
    {"schedule": {"every": "1h"}},
    {"github": {"repo": "acme/app", "secret": "gh"}},
    {"github": {"repo": "acme/site"}},
    {"webhook": {"verify": {"token": {"header": "x"}, "secret": ["new", "old"]}}},
    {"api": {}},
]


def routine(name: str, *on: dict[str, Any], may: bool = False) -> Routine:
    keys = {"may": [{"request": {"to": "POST https://a.test/"}}]} if may else {}
    return Routine.model_validate({"name": name, "agent": "steps", "on": list(on), **keys})


def test_each_trigger_for_events_has_a_url_by_name_and_by_place() -> None:
    triggers = Triggers(lambda: [Installed(routine("r", *ON, may=True))], b"k" * 32, clock=ManualClock())
    assert [target.name for target in triggers.targets(None)] == ["r/github", "r/github-2", "r/webhook"]
    assert all(target.writes for target in triggers.targets(None))
    named = triggers.hook("r/github")
    assert named is not None
    assert triggers.hook("r/1") is named
    assert (named.source, named.secrets, named.token) == ("r/github", ("gh",), None)
    assert [triggers.hook(path) for path in ("r/0", "r/schedule", "r/api", "x/github", "r/9", "")] == [None] * 6
    webhook = triggers.hook("r/3")
    assert webhook is not None
    assert webhook.secrets == ("new", "old")


def test_a_sender_without_a_secret_gets_a_url_that_nobody_guesses() -> None:
    one, other = (
        Triggers(lambda: [Installed(routine("r", *ON))], key, clock=ManualClock()) for key in (b"k" * 32, b"l" * 32)
    )
    hook = one.hook("r/github-2")
    assert hook is not None
    assert hook.token is not None
    urls = one.urls("https://hooks.example.com/")
    assert urls["r/github"] == "https://hooks.example.com/hooks/r/github"
    assert urls["r/github-2"] == f"https://hooks.example.com/hooks/r/github-2/{hook.token}"
    assert other.urls("")["r/github-2"] != one.urls("")["r/github-2"]


def test_a_source_has_its_target_and_a_change_is_heard() -> None:
    installed = [Installed(routine("r", *ON))]
    clock = ManualClock()
    triggers = Triggers(lambda: installed, b"k" * 32, clock=clock)
    [target] = triggers.targets("r/github")
    assert (target.routine, target.paused) == ("r", False)
    assert triggers.targets("gone/github") == []
    installed[:] = [Installed(routine("r", *ON), paused=True)]
    clock.now += 1
    hook = triggers.hook("r/github")
    assert hook is not None
    assert hook.paused
    installed.clear()
    clock.now += 1
    assert (triggers.hook("r/github"), triggers.targets(None)) == (None, [])


def test_who_asks_while_the_routines_are_read_waits_for_no_empty_answer() -> None:
    """Two threads ask at the start: the router for all, and the door for one."""
    seen: list[object] = []

    def installed() -> list[Installed]:
        if not seen:
            seen.append(None)
            seen.append(triggers.hook("r/github"))  # what another thread asks meanwhile
        return [Installed(routine("r", *ON))]

    triggers = Triggers(installed, b"k" * 32, clock=ManualClock())
    assert len(triggers.targets(None)) == 3
    assert seen[1] is not None


def test_an_app_s_webhook_is_one_url_for_all_triggers_without_a_secret_of_their_own() -> None:
    installed = [Installed(routine("r", *ON)), Installed(routine("q", {"github": {"repo": "acme/app"}}))]
    triggers = Triggers(lambda: installed, b"k" * 32, clock=ManualClock(), app_secret=lambda: "app-hook")
    hook = triggers.hook("_app/github")
    assert hook is not None
    assert (hook.source, hook.secrets, hook.token) == ("_app/github", ("app-hook",), None)
    assert [each.name for each in triggers.targets("_app/github")] == ["r/github-2", "q/github"]
    own, shared = triggers.hook("r/github"), triggers.hook("r/github-2")
    assert own is not None
    assert shared is not None
    assert (own.secrets, shared.secrets, shared.token) == (("gh",), ("app-hook",), None)
    assert triggers.urls("https://t.example.com")["_app/github"] == "https://t.example.com/hooks/_app/github"
    none = Triggers(lambda: installed, b"k" * 32, clock=ManualClock())
    assert none.hook("_app/github") is None
    assert none.targets("_app/github") == []
