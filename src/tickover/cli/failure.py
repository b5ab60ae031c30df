"""What the command line says when it cannot do what was asked: code, sentence, hint, place; and the exit code."""

from __future__ import annotations

import errno
import sys
import traceback
from typing import Final

import click

from tickover.cli.blocks import Ink, Line, Quote
from tickover.cli.output import json_text, screen
from tickover.cli.streams import settle_stdout
from tickover.core.errors import DefinitionErrors, TickoverError, UsageError, Where

INTERRUPTED: Final = 130


def answer(error: BaseException, ctx: click.Context, *, as_json: bool) -> int | None:
    """Print the error to stderr and return the exit code; None: nobody reads any more, click ends quietly."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        return None
    settle_stdout()
    told, err = _told(error, ctx), screen(sys.stderr)
    if told.code == "internal":
        err.show(Quote("".join(traceback.format_exception(error)).rstrip()))
    if as_json:
        sys.stderr.write(json_text({"error": told.as_dict()}) + "\n")
    else:
        for problem in told.problems if isinstance(told, DefinitionErrors) else [told]:
            err.show(*error_lines(problem))
    return told.exit_code


def error_lines(error: TickoverError) -> list[Line]:
    """Return the error as people read it: the sentence, then what to do, where, and the code to search for."""
    lines = [Line(Ink("error: ", "error"), error.message)]
    if error.where and str(error.where):
        lines.append(Line(Ink("at    ", "dim"), str(error.where), indent=2))
    if error.hint:
        lines.append(Line(Ink("hint  ", "dim"), error.hint, indent=2))
    lines.append(Line(Ink("code  ", "dim"), Ink(error.code, "dim"), indent=2))
    return lines


def _told(error: BaseException, ctx: click.Context) -> TickoverError:
    if isinstance(error, TickoverError):
        return error
    if isinstance(error, click.ClickException):
        at = getattr(error, "ctx", None) or ctx
        return UsageError("cli.usage", error.format_message(), hint=f"`{at.command_path} --help`")
    if isinstance(error, OSError) and error.strerror:
        return TickoverError("os.error", error.strerror, where=Where(str(error.filename)) if error.filename else None)
    what = f"an error of Tickover itself: {type(error).__name__}: {error}"
    return TickoverError("internal", what, hint="please report it with the lines above")
