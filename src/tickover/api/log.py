"""The server's log: JSON, an object a line, to stderr. Nothing from outside can begin a line or move a cursor in it."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import structlog

_CHAIN: Final[list[Any]] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]
_QUIET: Final = ("httpx", "httpcore", "asyncio")  # what they say at INFO are addresses, which may be secret


def open_log(file: TextIO | None = None, *, debug: bool = False) -> Any:
    """Return the log, and send to it what libraries log. ASCII only: every other character is escaped."""
    out = file or sys.stderr
    renderer = structlog.processors.JSONRenderer(ensure_ascii=True, default=repr)
    level = logging.DEBUG if debug else logging.INFO
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_CHAIN],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[*_CHAIN, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
