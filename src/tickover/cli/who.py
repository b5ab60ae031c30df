"""Who types here, as the journal names them."""

from __future__ import annotations

import getpass


def who() -> str:
    """Return the user's name and that it was said on the command line."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):
        return "command line"
