"""`tickover secret`: values that only the gateway uses. They come from stdin or a variable, and are never shown."""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import click

from tickover.cli import options
from tickover.cli.blocks import Cell, Ink, Line, Table
from tickover.cli.output import print_json, screen
from tickover.cli.who import who
from tickover.cli.wire import FORMAT, iso
from tickover.cli.words import ago
from tickover.control.secrets import LARGEST, Shown
from tickover.core.credential import CredentialKind
from tickover.core.errors import UsageError


@click.group(name="secret", cls=options.Group)
def command() -> None:
    """Set, list and remove the values of credentials.

    A value is encrypted under a key in the data folder. Only the gateway opens it, and puts it into requests to the
    hosts that the credential is bound to; no sandbox, log, page or receipt ever holds it.
    """


@command.command(name="set", epilog="\b\nExample:\n  tickover secret set slack --hosts slack.com < token.txt")
@click.argument("name", metavar="NAME")
@click.option("--from-env", metavar="VARIABLE", help="Take the value from this variable instead of stdin.")
@click.option("--hosts", metavar="HOST,...", help="Where it may go: HOST, *.HOST or HOST:PORT.")
@click.option("--kind", type=click.Choice(get_args(CredentialKind)), help="How it is sent.  [default: header]")
@click.option("--header", metavar="NAME", help="Kind header: which one.  [default: authorization]")
@click.option("--prefix", metavar="TEXT", help="Kind header: what stands before it.  [default: 'Bearer ']")
@click.option("--param", metavar="NAME", help="Kind query: the parameter.")
@click.option("--user", metavar="NAME", help="Kinds basic and git: the user.  [default: x-access-token]")
@click.option("--app", metavar="ID", help="Kind github-app: the App's client id or number; the value is its key.")
@click.option("--api", metavar="URL", help="Kind github-app: where its API is.  [default: https://api.github.com]")
@click.option("--remote", is_flag=True, help="Set it on the server of `tickover login`.")
@options.as_json("what was set, without the value,")
@options.home
@options.no_color
def set_(
    *,
    name: str,
    from_env: str | None,
    hosts: str | None,
    remote: bool,
    as_json: bool,
    home: Path | None,
    no_color: bool,
    **form: Any,
) -> None:
    """Set the value of the credential NAME, from stdin or a variable. Set again, it is rotated: the next run has it.

    Where it may go stands in `credentials` of tickover.yaml, or is said here once and kept with it.
    """
    binding = {key: value for key, value in form.items() if value is not None}
    if hosts is not None:
        binding["hosts"] = [host.strip() for host in hosts.split(",") if host.strip()]
    value = _value(from_env)
    if remote:
        _set_remote(name, value, binding, as_json=as_json, no_color=no_color)
        return
    with options.reading(home) as tickover:
        record = tickover.secrets.set(name, value, by=who(), binding=binding or None)
        [shown] = [each for each in tickover.secrets.list() if each.name == name]
    if as_json:
        print_json(_json(shown))
        return
    rotated = f"version {record.version}" + (", rotated" if record.version > 1 else "")
    screen(no_color=no_color).show(Line(f"{name}  {rotated}; it may go to {_where(shown)}"))


def _set_remote(name: str, value: bytes, binding: dict[str, Any], *, as_json: bool, no_color: bool) -> None:
    from tickover.cli.remote import Remote, known_login

    with Remote(*known_login()) as server:
        told = server.set_secret(name, value, binding)
    if as_json:
        print_json({"format": FORMAT, **told})
        return
    where = ", ".join(map(str, told["hosts"])) or "no host: it only signs"
    screen(no_color=no_color).show(Line(f"{name}  version {told['version']}; it may go to {where}"))


@command.command(name="list", epilog="\b\nExample:\n  tickover secret list --json | jq '.[].name'")
@click.option("--remote", is_flag=True, help="List those of the server of `tickover login`.")
@options.as_json("the secrets, without their values,")
@options.home
@options.no_color
def list_(*, remote: bool, as_json: bool, home: Path | None, no_color: bool) -> None:
    """List credentials: how and where each may go, who set its value and when."""
    if remote:
        from tickover.cli.remote import Remote, known_login

        with Remote(*known_login()) as server:
            told = server.secrets()
        listed, rows = [{"format": FORMAT, **each} for each in told], [_remote_row(each) for each in told]
    else:
        with options.reading(home) as tickover:
            found = tickover.secrets.list()
        listed, rows = [_json(each) for each in found], [_row(each) for each in found]
    if as_json:
        print_json(listed)
    elif rows:
        heads = ("NAME", "KIND", "MAY GO TO", "VALUE")
        screen(no_color=no_color).show(Table(tuple(rows), indent=0, heads=heads))
    else:
        screen(sys.stderr).show(Line("no secrets; `tickover secret set NAME --hosts HOST` keeps one"))


@command.command(epilog="\b\nExample:\n  tickover secret rm slack")
@click.argument("name", metavar="NAME")
@click.option("--remote", is_flag=True, help="Remove it on the server of `tickover login`.")
@options.home
@options.no_color
def rm(*, name: str, remote: bool, home: Path | None, no_color: bool) -> None:
    """Remove a value: it is overwritten, and runs that need it are refused."""
    if remote:
        from tickover.cli.remote import Remote, known_login

        with Remote(*known_login()) as server:
            server.remove_secret(name)
    else:
        with options.reading(home) as tickover:
            tickover.secrets.remove(name)
    screen(sys.stderr, no_color=no_color).show(Line(f"{name} removed"))


def _value(variable: str | None) -> bytes:
    """Read the value: one line feed at its end is not part of it."""
    if variable is not None:
        if variable not in os.environ:
            raise UsageError("secret.no_variable", f"there is no variable `{variable}`")
        return os.environb[os.fsencode(variable)]
    if sys.stdin.isatty():
        typed: str = click.prompt("value (not shown)", hide_input=True, err=True)
        return typed.encode()
    value = sys.stdin.buffer.read(LARGEST + 3)
    return value.removesuffix(b"\n").removesuffix(b"\r")


def _where(shown: Shown) -> str:
    if shown.credential is None:
        return "no host"
    return ", ".join(shown.credential.hosts) or "no host: it only signs"


def _row(shown: Shown) -> tuple[Cell, ...]:
    record = shown.record
    value = _set(record.version, record.set_at, record.set_by) if record else None
    return _cells(shown.name, shown.kind, _where(shown), value, in_file=shown.in_file)


def _remote_row(told: dict[str, Any]) -> tuple[Cell, ...]:
    value = told["version"] and _set(
        told["version"], datetime.fromisoformat(told["set_at"]).timestamp(), told["set_by"]
    )
    where = ", ".join(map(str, told["hosts"])) or "no host: it only signs"
    return _cells(str(told["name"]), str(told["kind"]), where, value, in_file=bool(told["in_file"]))


def _set(version: object, at: float, by: object) -> str:
    return f"version {version}, set {ago(at, time.time())} by {by}"


def _cells(name: str, kind: str, where: str, value: str | None, *, in_file: bool) -> tuple[Cell, ...]:
    place = " (tickover.yaml)" if in_file else ""
    return (name, kind, f"{where}{place}", value or Ink("not set", "warn"))


def _json(shown: Shown) -> dict[str, Any]:
    record = shown.record
    return {
        "format": FORMAT,
        "name": shown.name,
        "kind": shown.kind,
        "binding": shown.credential.model_dump(mode="json", by_alias=True) if shown.credential else None,
        "in_file": shown.in_file,
        "version": record.version if record else None,
        "set_at": iso(record.set_at) if record else None,
        "set_by": record.set_by if record else None,
    }
