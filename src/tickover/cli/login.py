"""`tickover login`: keep the address of a server and a token for it."""

from __future__ import annotations

import sys

import click

from tickover.cli.blocks import Line
from tickover.cli.output import screen
from tickover.core.errors import UsageError


@click.command(epilog="\b\nExample:\n  tickover login https://tickover.example.com < token.txt")
@click.argument("url")
def command(url: str) -> None:
    """Keep the address URL and a token, for `run --remote` and `push --remote`.

    The token is read from stdin, or asked for without showing it; it is never an argument, which others could see. It
    is shown to the server once before it is kept.
    """
    from tickover.cli.remote import Remote, keep_login

    if not url.startswith(("https://", "http://")):
        raise UsageError("remote.url", f"`{url}` is no address of a server", hint="https://HOST")
    url = url.rstrip("/")
    token = (click.prompt("token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()).strip()
    if not token:
        raise UsageError("login.token", "no token was given", hint="`tickover token create` on the server makes one")
    with Remote(url, token) as remote:
        who = remote.whoami()
    path = keep_login(url, token)
    scopes = " ".join(map(str, who.get("scopes", ())))
    screen(sys.stderr).show(Line(f"logged in to {url} as {who.get('owner')} ({scopes}); kept in {path}"))
