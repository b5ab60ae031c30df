"""What the command line says when it cannot do what was asked: code, sentence, hint, place; and the exit code."""

from __future__ import annotations

import errno
import sys
from typing import Final

import click

from tickover.cli.blocks import Ink, Line
from tickover.cli.output import json_text, screen
from tickover.core.errors import DefinitionErrors, TickoverError, UsageError, Where

INTERRUPTED: Final = 130


def answer(error: BaseException, ctx: click.Context, *, as_json: bool) -> int | None:
    """Print the error to stderr and return the exit code; None for what is no answer but a defect of ours."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    told = _told(error, ctx)
    if told is None:
        return None
    if as_json:
        sys.stderr.write(json_text({"error": told.as_dict()}) + "\n")
    else:
        err = screen(sys.stderr)
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


def _told(error: BaseException, ctx: click.Context) -> TickoverError | None:
    if isinstance(error, TickoverError):
        return error
    if isinstance(error, click.ClickException):
        at = getattr(error, "ctx", None) or ctx
        return UsageError("cli.usage", error.format_message(), hint=f"`{at.command_path} --help`")
    if isinstance(error, OSError) and error.errno != errno.EPIPE:
        place = Where(file=str(error.filename)) if error.filename else None
        return TickoverError("os.error", error.strerror or str(error), where=place)
    return None
