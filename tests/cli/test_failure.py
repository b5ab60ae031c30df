from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from tickover.cli import main
from tickover.cli.blocks import Plain
from tickover.cli.failure import answer, error_lines
from tickover.core.errors import DefinitionErrors, NotFoundError, TickoverError, UsageError, Where
from tickover.testing.stories import HOSTILE

Cli = Callable[..., Result]


def told(error: BaseException, *, as_json: bool = False) -> int | None:
    return answer(error, click.Context(main, info_name="tickover"), as_json=as_json)


def test_an_error_is_a_sentence_a_place_a_hint_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    where = Where("routines/x/ROUTINE.md", 3, 1, "agnet")
    error = UsageError("definition.unknown_key", "unknown key `agnet`", hint="did you mean `agent`?", where=where)
    assert told(error) == 2
    assert capsys.readouterr() == ("", (
        "error: unknown key `agnet`\n"
        "  at    routines/x/ROUTINE.md:3:1 (agnet)\n"
        "  hint  did you mean `agent`?\n"
        "  code  definition.unknown_key\n"
    ))  # fmt: skip


def test_as_json_it_goes_to_stderr_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(NotFoundError("run.not_found", "no\x9b run"), as_json=True) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x9b" not in err
    assert json.loads(err) == {"error": {"code": "run.not_found", "message": "no\x9b run", "hint": "", "where": None}}


def test_all_problems_of_a_definition_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    both = [UsageError("a.b", "one"), UsageError("c.d", "two")]
    assert told(DefinitionErrors([*both])) == 2
    assert capsys.readouterr().err == "error: one\n  code  a.b\nerror: two\n  code  c.d\n"
    assert told(DefinitionErrors([*both]), as_json=True) == 2
    problems = json.loads(capsys.readouterr().err)["error"]["problems"]
    assert [each["code"] for each in problems] == ["a.b", "c.d"]


def test_an_error_of_the_system_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(OSError(errno.ENOSPC, "No space left on device", "/var/lib/x")) == 1
    assert capsys.readouterr().err == "error: No space left on device\n  at    /var/lib/x\n  code  os.error\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_130_without_words(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(error) == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_went_away_is_click_s() -> None:
    assert told(BrokenPipeError(errno.EPIPE, "pipe")) is None


def test_a_defect_is_told_with_its_trace_and_without_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(RuntimeError(HOSTILE)) == 1
    err = capsys.readouterr().err
    assert err.startswith("  │ RuntimeError: ")
    assert "\nerror: an error of Tickover itself: RuntimeError: " in err
    assert not [letter for letter in err if letter != "\n" and not letter.isprintable()]


def test_hostile_text_in_an_error_stays_in_its_place() -> None:
    out = io.StringIO()
    Plain(out).show(*error_lines(TickoverError("x.y", HOSTILE, hint=HOSTILE, where=Where(HOSTILE))))
    assert not [letter for letter in out.getvalue() if letter != "\n" and not letter.isprintable()]
    assert [line[:6] for line in out.getvalue().splitlines()] == ["error:", "  at  ", "  hint", "  code"]


def test_a_wrong_option_names_the_help_of_its_verb(cli: Cli) -> None:
    shown = cli("runs", "list", "--nope")
    assert shown.exit_code == 2
    assert "error: No such option '--nope'" in shown.stderr
    assert "hint  `tickover runs list --help`" in shown.stderr


def test_a_wrong_verb_names_the_near_one(cli: Cli) -> None:
    shown = cli("doctr", "--json")
    assert shown.exit_code == 2
    assert "doctor" in json.loads(shown.stderr)["error"]["message"]


def test_a_data_folder_that_cannot_be_is_an_error_not_a_trace(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shown = cli("runs", "list", "--home", str(tmp_path / "file" / "x"))
    assert (shown.exit_code, shown.stderr.splitlines()[-1]) == (2, "  code  home.unusable")
