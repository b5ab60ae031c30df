from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tickover.gateway.secrets import key_for, unseal
from tickover.store.projection import project_run
from tickover.store.sqlite import SqliteStore

Cli = Callable[..., Result]
VALUE = "xoxb-the-value-that-nobody-shows"


def value_of(home: Path, name: str) -> bytes:
    with SqliteStore(str(home), project_run) as store:
        record = store.secrets.get(name)
    return unseal(key_for(str(home), record.kind), name=name, kind=record.kind, sealed=record.sealed)


def everywhere(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_a_value_comes_from_stdin_and_is_sealed(cli: Cli, home: Path) -> None:
    done = cli("secret", "set", "chat", "--hosts", "chat.test, *.chat.test", input=f"{VALUE}\n")
    assert done.exit_code == 0, done.output
    assert done.stdout == "chat  version 1; it may go to chat.test, *.chat.test\n"
    assert value_of(home, "chat") == VALUE.encode()
    assert VALUE.encode() not in everywhere(home)


def test_a_value_comes_from_a_variable(cli: Cli, home: Path) -> None:
    done = cli("secret", "set", "hook", "--kind", "signing", "--from-env", "HOOK", env={"HOOK": VALUE})
    assert done.exit_code == 0, done.output
    assert value_of(home, "hook") == VALUE.encode()
    assert cli("secret", "set", "hook", "--kind", "signing", "--from-env", "NO_HOOK").exit_code == 2


def test_setting_it_again_rotates_it_and_keeps_where_it_may_go(cli: Cli, home: Path) -> None:
    cli("secret", "set", "chat", "--hosts", "chat.test", "--header", "x-token", "--prefix", "", input=VALUE)
    done = cli("secret", "set", "chat", "--json", input="another-value")
    shown = json.loads(done.stdout)
    assert (shown["version"], shown["binding"]["hosts"], shown["binding"]["header"]) == (2, ["chat.test"], "x-token")
    assert value_of(home, "chat") == b"another-value"


@pytest.mark.parametrize(
    ("args", "value", "code"),
    [
        (["chat"], VALUE, "credential.no_hosts"),
        (["Chat", "--hosts", "chat.test"], VALUE, "secret.name"),
        (["chat", "--hosts", "10.0.0.1"], VALUE, "credential.malformed"),
        (["chat", "--hosts", "chat.test", "--user", "x"], VALUE, "credential.malformed"),
        (["chat", "--kind", "signing", "--hosts", "chat.test"], VALUE, "credential.malformed"),
        (["chat", "--hosts", "chat.test"], "", "secret.too_short"),
        (["chat", "--hosts", "chat.test"], "qzx7w", "secret.too_short"),
        (["chat", "--hosts", "chat.test"], f"{VALUE}\r\nx-more: 1", "secret.control"),
        (["chat", "--hosts", "chat.test"], "x" * 20_000, "secret.too_long"),
    ],
)
def test_what_cannot_be_a_secret_is_told_without_its_value(
    cli: Cli, home: Path, args: list[str], value: str, code: str
) -> None:
    done = cli("secret", "set", *args, input=value)
    assert done.exit_code == 2
    assert code in done.stderr
    assert not value or value not in done.output
    assert VALUE not in done.output


def test_what_the_file_says_is_not_said_again(cli: Cli, home: Path) -> None:
    (home / "tickover.yaml").write_text("credentials: {chat: {kind: basic, user: bot, hosts: [chat.test]}}\n")
    assert "not set" in cli("secret", "list").stdout
    assert "credential.in_file" in cli("secret", "set", "chat", "--hosts", "other.test", input=VALUE).stderr
    assert cli("secret", "set", "chat", input=VALUE).exit_code == 0
    [shown] = json.loads(cli("secret", "list", "--json").stdout)
    assert (shown["kind"], shown["in_file"], shown["version"]) == ("basic", True, 1)
    assert shown["binding"] == {
        "kind": "basic",
        "user": "bot",
        "hosts": ["chat.test"],
        "header": "authorization",
        "prefix": "Bearer ",
    }


def test_a_removed_secret_is_gone(cli: Cli, home: Path) -> None:
    cli("secret", "set", "chat", "--hosts", "chat.test", input=VALUE)
    assert cli("secret", "rm", "chat").exit_code == 0
    assert cli("secret", "rm", "chat").exit_code == 3
    assert "no secrets" in cli("secret", "list").stderr


def test_a_broken_configuration_is_an_error_with_its_line(cli: Cli, home: Path) -> None:
    (home / "tickover.yaml").write_text("credentails: {}\n")
    done = cli("secret", "list")
    assert done.exit_code == 2
    assert "did you mean `credentials`?" in done.stderr
    assert "tickover.yaml:1:1" in done.stderr
