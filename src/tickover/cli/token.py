"""`tickover token`: who may call the API of this data folder's server."""

from __future__ import annotations

import getpass
import re
import sys
from pathlib import Path
from typing import Final

import click

from tickover.cli import options
from tickover.cli.blocks import Cell, Ink, Line, Table
from tickover.cli.output import print_json, screen
from tickover.cli.who import who
from tickover.core.access import ROLES, Token
from tickover.core.wire import iso

ORIGIN: Final = "command line"
_DAY: Final = 86400.0


@click.group(name="token", cls=options.Group)
def command() -> None:
    """Make, list and revoke the tokens that callers of the API show.

    A token's secret is shown once, when it is made; only a hash of it is kept.
    """


@command.command(epilog="\b\nExample:\n  tickover token create ci --scope fire:weekly-digest --days 90")
@click.argument("name")
@click.option("--role", type=click.Choice(list(ROLES)), help="viewer reads, operator also starts and stops, admin all.")
@click.option("--scope", "scopes", multiple=True, help="read, fire:ROUTINE, fire:*, operate or admin; repeatable.")
@click.option("--owner", metavar="KIND:NAME", help="person:, team: or service: and a name.  [default: you]")
@click.option("--days", type=click.IntRange(1, 3660), help="How long it lasts.  [default: until revoked]")
@options.as_json("the token, with its secret,")
@options.home
def create(
    *,
    name: str,
    role: str | None,
    scopes: tuple[str, ...],
    owner: str | None,
    days: int | None,
    as_json: bool,
    home: Path | None,
) -> None:
    """Make a token and print it; nothing can print it again."""
    with options.reading(home) as tickover:
        token, text = tickover.access.create(
            name=name,
            owner=owner or _myself(),
            role=role,
            scopes=scopes,
            lasts=None if days is None else days * _DAY,
            by=who(),
            origin=ORIGIN,
        )
    if as_json:
        print_json({**_told(token, "live"), "token": text})
        return
    screen(sys.stderr).show(Line(f"token {token.id} of {token.owner}: {', '.join(token.scopes)}; shown this once"))
    click.echo(text)


@command.command(name="list", epilog="\b\nExample:\n  tickover token list --json | jq '.[].id'")
@options.as_json("the tokens, without their secrets,")
@options.home
@options.no_color
def list_(*, as_json: bool, home: Path | None, no_color: bool) -> None:
    """List the tokens: whose they are, what they allow, when they were used last."""
    with options.reading(home) as tickover:
        found = tickover.access.list()
    if as_json:
        print_json([_told(token, state) for token, state in found])
    elif found:
        rows = tuple(_row(token, state) for token, state in found)
        screen(no_color=no_color).show(Table(rows, heads=("token", "state", "owner", "scopes", "last used", "name")))
    else:
        screen(sys.stderr).show(Line("no tokens; `tickover token create NAME` makes one"))


@command.command(epilog="\b\nExample:\n  tickover token revoke k4zq2n7xwb")
@click.argument("token", metavar="ID")
@options.home
def revoke(token: str, home: Path | None) -> None:
    """End a token: whoever shows it from now on is refused."""
    with options.reading(home) as tickover:
        ended = tickover.access.revoke(token, by=who(), origin=ORIGIN)
    screen(sys.stderr).show(Line(f"token {ended.id} ({ended.name}) is revoked"))


def _row(token: Token, state: str) -> tuple[Cell, ...]:
    used = iso(token.last_used) or "never"
    return (token.id, Ink(state, "dim"), token.owner, " ".join(token.scopes), used, token.name)


def _myself() -> str:
    try:
        name = re.sub(r"[^A-Za-z0-9._@+-]", "", getpass.getuser())
    except (OSError, KeyError):
        name = ""
    return f"person:{name or 'somebody'}"


def _told(token: Token, state: str) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "owner": token.owner,
        "scopes": list(token.scopes),
        "state": state,
        "created": iso(token.created),
        "made_by": token.made_by,
        "expires": iso(token.expires),
        "last_used": iso(token.last_used),
    }
