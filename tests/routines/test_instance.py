from __future__ import annotations

from pathlib import Path

import pytest

from tickover.core.admission import PRESETS, Caps
from tickover.core.errors import DefinitionErrors
from tickover.core.instance import Instance
from tickover.routines.instance import load_instance, read_instance

WHOLE = b"""\
network:
  deny: ["*.banned.test"]
  private: [chat.test]
  roots: [ours.pem, /etc/others.pem]
credentials:
  chat: {hosts: [chat.test]}
  forge: {kind: git, hosts: ["git.test:8443"], user: bot}
  search: {kind: query, hosts: [api.test], param: key}
  hook: {kind: signing}
"""


def problems(text: str) -> list[tuple[str, int | None, int | None, str]]:
    with pytest.raises(DefinitionErrors) as caught:
        read_instance(text.encode(), Path("/srv/tickover.yaml"))
    found = caught.value.problems
    return [(each.code, each.where.line, each.where.column, each.hint) for each in found if each.where]


def test_every_key_is_read_and_paths_are_those_beside_the_file() -> None:
    instance = read_instance(WHOLE, Path("/srv/tickover.yaml"))
    assert instance.network.rules().deny == ("*.banned.test",)
    assert instance.network.rules().private == ("chat.test",)
    assert instance.network.roots == ("/srv/ours.pem", "/etc/others.pem")
    assert {name: each.kind for name, each in instance.credentials.items()} == {
        "chat": "header",
        "forge": "git",
        "search": "query",
        "hook": "signing",
    }


def test_all_problems_come_at_once_with_their_place_and_the_nearest_key() -> None:
    text = "netwrok: {}\ncredentials:\n  chat:\n    host: [chat.test]\n  Forge: {hosts: [a.test]}\n  x: {hosts: [10.0.0.1]}\n"
    assert problems(text) == [
        ("definition.unknown_key", 1, 1, "did you mean `network`?"),
        ("definition.unknown_key", 4, 5, "did you mean `hosts`?"),
        ("definition.value", 5, 3, ""),
        ("definition.value", 6, 15, ""),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("network: {deny: [a b]}", "definition.value"),
        ("credentials: {a: {hosts: [a.test], kind: bearer}}", "definition.value"),
        ("credentials: {a: {hosts: [a.test], user: x}}", "definition.choice"),
        ("credentials: {a: {}}", "definition.choice"),
        ("network: {private: allow}", "definition.type"),
        ("a: &x 1", "yaml.anchor"),
        ("- a", "definition.type"),
        ("network: {roots: ['']}", "definition.too_short"),
    ],
)
def test_what_is_no_configuration_is_an_error_of_its_line(text: str, code: str) -> None:
    assert [(each[0], each[1]) for each in problems(text)] == [(code, 1)]


def test_without_a_file_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TICKOVER_CONFIG", raising=False)
    assert load_instance(tmp_path) == Instance()
    (tmp_path / "tickover.yaml").write_bytes(b"")
    assert load_instance(tmp_path) == Instance()
    (tmp_path / "tickover.yaml").write_bytes(WHOLE)
    assert "chat" in load_instance(tmp_path).credentials


def test_a_file_that_was_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKOVER_CONFIG", str(tmp_path / "other.yaml"))
    with pytest.raises(DefinitionErrors) as caught:
        load_instance(tmp_path)
    assert caught.value.code == "config.not_found"
    (tmp_path / "other.yaml").write_bytes(WHOLE)
    assert "chat" in load_instance(tmp_path).credentials


def test_what_cannot_be_read_is_an_error_and_no_empty_configuration(tmp_path: Path) -> None:
    (tmp_path / "tickover.yaml").mkdir()
    with pytest.raises(DefinitionErrors) as caught:
        load_instance(tmp_path)
    assert caught.value.code == "config.unreadable"


@pytest.mark.parametrize(
    ("text", "caps"),
    [
        ("{}", Caps()),
        ("caps: {preset: claude-pro}", PRESETS["claude-pro"]),
        ("caps: {preset: claude-team}", PRESETS["claude-team"]),
        (
            "caps: {preset: claude-pro, all_runs_per_day: 7, concurrent: 2}",
            Caps(min_interval_s=3600.0, all_runs_per_day=7, concurrent=2),
        ),
        (
            "caps: {runs_per_day: 3, min_interval: 30m, pause_after: 0}",
            Caps(runs_per_day=3, min_interval_s=1800.0, pause_after=0),
        ),
    ],
)
def test_caps_are_a_preset_and_what_differs_from_it(text: str, caps: Caps) -> None:
    assert read_instance(text.encode(), Path("/srv/tickover.yaml")).caps.caps() == caps


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{preset: claude-max}", "definition.value"),
        ("{concurrent: 0}", "definition.bound"),
        ("{runs_per_day: 0}", "definition.bound"),
        ("{min_interval: 5}", "definition.measure"),
        ("{max: 5}", "definition.unknown_key"),
    ],
)
def test_caps_that_cannot_be_are_refused(text: str, code: str) -> None:
    assert [found for found, *_ in problems(f"caps: {text}")] == [code]
