"""Whether a pinned check written in Python can be read at all: told when the routine is read, before anything is spent.

It is read by the Python that runs here. Inside it is /usr/bin/python3, which may be newer and know more; then nothing
is said, and the check itself will tell.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import warnings
from typing import Final

INSIDE: Final = "/usr/bin/python3"
_MINOR: Final = re.compile(r".*/python3\.(\d+)")


def unreadable(data: bytes, minor: int | None) -> str:
    """Return why a program is none, "" if it is one, or if nobody here can tell. `minor` is the version inside."""
    if minor is None or minor > sys.version_info.minor:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except SyntaxError as error:
        return f"{error.msg} (line {error.lineno})" if error.lineno else error.msg
    except (ValueError, RecursionError, MemoryError):  # what the parser cannot take may be one all the same
        return ""
    return ""


def minor_inside() -> int | None:
    """Return the minor version of the Python that checks are run by, as its file is called; None if that says none."""
    found = _MINOR.fullmatch(os.path.realpath(INSIDE))
    return int(found[1]) if found else None
