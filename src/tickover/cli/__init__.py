"""The command line: a thin face. This file loads click and no other package; a verb's file is loaded when it is used.

`VERBS` is the list of them. `run.py` is the one to read first; `blocks.py` is what all of them draw with.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from tickover import __version__

VERBS = {
    "init": "Write a first routine and its check.",
    "run": "Run a routine now, and say what was proved.",
    "runs": "List runs, show one, follow its journal, cancel it.",
    "routine": "List routines, show what one may change, what proves it, when it fires; pause it.",
    "push": "Hand a routine to the server of a data folder.",
    "grant": "Show what a routine asks for, and grant it.",
    "secret": "Set, list and remove the values of credentials.",
    "up": "Run what was pushed: its schedules, the queue, and the HTTP API.",
    "events": "List what came in from outside, say what became of it, try it on a routine.",
    "watch": "Raise an alarm when a server is silent.",
    "login": "Keep the address of a server and a token for it.",
    "token": "Make, list and revoke the tokens that callers of the API show.",
    "agent": "Install builds of agents, and list them.",
    "import": "Write routines of what other schedulers keep.",
    "schema": "Print the JSON Schema of ROUTINE.md.",
    "doctor": "Start a sandbox, and say what it protects against here.",
}

FILES = {"import": "importing"}
"""Verbs that cannot be the name of a module."""


class Verbs(click.Group):
    """A group that imports a verb's file only when the verb is used, and prints every error alike."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in VERBS:
            return None
        file = FILES.get(cmd_name, cmd_name)
        command: click.Command = importlib.import_module(f"{__name__}.{file}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, 1)
            ctx.fail(f"There is no verb `{args[0]}`." + (f" Did you mean `{near[0]}`?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["tickover.json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        from tickover.cli.streams import open_closed

        open_closed()
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()  # a full disk is told now, not by the interpreter at its end
            return result
        except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            from tickover.cli.failure import answer

            code = answer(error, ctx, as_json=ctx.meta["tickover.json"])
            if code is None:
                raise
            ctx.exit(code)


@click.group(
    name="tickover",
    cls=Verbs,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "TICKOVER",
        "max_content_width": 100,
    },
    epilog="Start here:  tickover init  and then  tickover run routines/hello",
)
@click.version_option(__version__, prog_name="tickover", message="%(prog)s %(version)s")
def main() -> None:
    """Run agent routines in fresh sandboxes, and call them green only when the work was proved."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))  # a core dump would hold what we were given to keep
