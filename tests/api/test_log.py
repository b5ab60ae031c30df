from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tickover.api.log import open_log


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_hostile_text_stays_in_its_line() -> None:
    out = io.StringIO()
    open_log(out).info("request", path='/\x1b[2J\n{"level": "forged"}\u202e\x9b', by=b"\xff")
    [line] = out.getvalue().splitlines()
    assert line.isascii()
    assert json.loads(line)["path"].startswith("/\x1b[2J\n")
    assert "\x1b" not in line


def test_libraries_log_the_same_way_and_say_no_addresses() -> None:
    out = io.StringIO()
    open_log(out)
    logging.getLogger("httpx").info("HTTP Request: POST https://hooks.test/hunter2")
    logging.getLogger("some.library").warning("odd\n%s", "\x1b]0;title\x07")
    [line] = out.getvalue().splitlines()
    told = json.loads(line)
    assert (told["level"], told["logger"]) == ("warning", "some.library")
    assert "\x1b" not in line


def test_an_error_has_its_traceback_in_one_line() -> None:
    out = io.StringIO()
    log = open_log(out)
    try:
        raise ValueError("line one\nline two")
    except ValueError as error:
        log.error("request.failed", exc_info=error)  # noqa: TRY400 - the port has this one
    [line] = out.getvalue().splitlines()
    assert "ValueError: line one" in json.loads(line)["exception"]
