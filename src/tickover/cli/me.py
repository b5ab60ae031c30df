"""Who sits at the command line, as journals and the audit log name it."""

from __future__ import annotations

import getpass
from typing import Final

ORIGIN: Final = "command line"


def me() -> str:
    """Return the user's name; where there is none, only the place."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):
        return ORIGIN
