from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import Result

from tickover import __version__
from tickover.cli import VERBS, main

Cli = Callable[..., Result]

from_outside = """
import sys
from tickover.cli import main
try:
    main(sys.argv[1:], prog_name="tickover")
except SystemExit as end:
    print(*sorted(sys.modules), file=sys.stderr)
    sys.exit(end.code)
"""


def modules_after(*args: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", from_outside, *args], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
    return set(done.stderr.split())


def test_no_verb_leaves_a_core_dump_of_what_it_was_given_to_keep() -> None:
    then = "import resource, sys; print(resource.getrlimit(resource.RLIMIT_CORE)[0], file=sys.stderr)"
    raised = "import resource as r; r.setrlimit(r.RLIMIT_CORE, (r.getrlimit(r.RLIMIT_CORE)[1],) * 2)"
    code = f"{raised}\n{from_outside.replace('print(*sorted(sys.modules), file=sys.stderr)', then)}"
    done = subprocess.run([sys.executable, "-c", code, "schema"], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "0"


@pytest.mark.parametrize("args", [("--help",), ("--version",)])
def test_a_start_loads_click_and_nothing_heavy(args: tuple[str, ...]) -> None:
    loaded = modules_after(*args)
    heavy = {
        "pydantic",
        "rich",
        "sqlite3",
        "importlib.metadata",
        "asyncio",
        "httpx",
        "ruamel",
        "re2",
        "json",
        "dataclasses",
    }
    assert not heavy & loaded
    assert {name for name in loaded if name.startswith("tickover")} == {"tickover", "tickover.cli"}


def test_the_command_line_loads_one_verb_only() -> None:
    loaded = modules_after("schema", "--help")
    assert "tickover.cli.schema" in loaded
    assert "tickover.app" not in loaded


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        here = (*path, name)
        found += [here, *(commands(command, here) if isinstance(command, click.Group) else [])]
    return found


def test_the_verbs() -> None:
    assert commands() == [
        ("init",), ("run",), ("runs",), ("runs", "artifact"), ("runs", "cancel"), ("runs", "list"), ("runs", "logs"),
        ("runs", "replay"),
    ("runs", "show"), ("routine",), ("routine", "allowlist"), ("routine", "list"), ("routine", "next"), ("routine", "pause"), ("routine", "resume"),
        ("routine", "show"), ("push",), ("grant",), ("secret",), ("secret", "list"), ("secret", "rm"), ("secret", "set"),
        ("up",), ("events",), ("events", "backfill"), ("events", "confirm"), ("events", "list"), ("events", "replay"), ("events", "show"), ("events", "test"),
        ("watch",), ("login",), ("token",), ("token", "create"), ("token", "list"), ("token", "revoke"),
        ("agent",), ("agent", "canary"), ("agent", "install"), ("agent", "list"), ("import",), ("import", "claude-routine"), ("import", "claude-scheduled-task"),
        ("import", "crontab"), ("schema",), ("doctor",),
    ]  # fmt: skip
    assert list(VERBS) == [path[0] for path in commands() if len(path) == 1]


GROUPS = {("runs",), ("routine",), ("secret",), ("events",), ("token",), ("agent",), ("import",)}


@pytest.mark.parametrize("path", [path for path in commands() if path not in GROUPS], ids=" ".join)
def test_every_verb_has_an_example_in_its_help(path: tuple[str, ...], cli: Cli) -> None:
    shown = cli(*path, "--help")
    assert shown.exit_code == 0
    assert f"\n    tickover {' '.join(path)}" in shown.output
    assert "Example" in shown.output


def options() -> list[tuple[str, click.Option]]:
    found = []
    for path in commands():
        command: click.Command = main
        for name in path:
            assert isinstance(command, click.Group)
            got = command.get_command(click.Context(command), name)
            assert got is not None
            command = got
        found += [(" ".join(path), each) for each in command.params if isinstance(each, click.Option)]
    return found


@pytest.mark.parametrize(("verb", "option"), options(), ids=lambda each: getattr(each, "name", each))
def test_every_option_says_what_it_does(verb: str, option: click.Option) -> None:
    assert option.help


READING = {
    "runs list", "runs show", "runs logs", "runs replay", "routine list", "routine show", "routine next", "routine allowlist", "push", "doctor", "run",
    "token create", "token list", "events backfill", "events confirm", "events list", "events replay", "events show", "events test",
    "grant", "secret list", "secret set", "agent canary", "agent list", "agent install",
}  # fmt: skip


def test_every_reading_verb_has_json() -> None:
    assert {verb for verb, option in options() if option.name == "as_json"} == READING


def test_an_option_can_come_from_the_environment(cli: Cli) -> None:
    shown = cli("runs", "list", env={"TICKOVER_RUNS_LIST_LIMIT": "many"})
    assert shown.exit_code == 2
    assert "--limit" in shown.stderr


def test_a_verb_that_a_noun_has_not_is_answered_with_those_that_it_has(cli: Cli) -> None:
    shown = cli("secret", "remove", "slack")
    assert shown.exit_code == 2
    assert "There is no verb `remove`; there are list, rm, set." in shown.stderr


def test_the_version(cli: Cli) -> None:
    assert cli("--version").output == f"tickover {__version__}\n"


@pytest.mark.parametrize("args", [(), ("runs",), ("routine",)])
def test_without_a_verb_there_is_help_and_a_usage_error(args: tuple[str, ...], cli: Cli) -> None:
    shown = cli(*args)
    assert shown.exit_code == 2
    assert "Usage: tickover" in shown.output
    assert "error" not in shown.output
