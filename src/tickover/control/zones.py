"""Which release of the time zone rules is in force here: slots computed with another one are computed anew."""

from __future__ import annotations

import importlib.metadata
import os
import zoneinfo


def zone_rules() -> str:
    """Return the release of the system's rules, else of the package `tzdata`, which zoneinfo uses then."""
    for folder in zoneinfo.TZPATH:
        for name in ("tzdata.zi", "+VERSION"):
            try:
                with open(os.path.join(folder, name), encoding="ascii", errors="replace") as file:
                    return file.readline().strip().removeprefix("# version ")
            except OSError:
                continue
    try:
        return importlib.metadata.version("tzdata")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
