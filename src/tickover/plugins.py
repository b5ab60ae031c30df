"""Family and name to class: a file of that name in the family's folder, else an entry point `tickover.FAMILY`."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import entry_points
from typing import Any, Final

from tickover.core.errors import NotFoundError

FAMILIES: Final = {
    "agents": "Agent",
    "checks": "Check",
    "sandbox": "Backend",
    "notify": "Notifier",
    "telemetry": "Exporter",
}
"""Family -> the name that its class has in every file of the family."""


def find(family: str, name: str) -> Any:
    """Return the class. Raises NotFoundError naming what to install."""
    module = f"tickover.{family}.{name.replace('-', '_')}"
    if name.isascii() and name.replace("-", "").isalnum() and name != "base" and importlib.util.find_spec(module):
        found = getattr(importlib.import_module(module), FAMILIES[family], None)
        if found is not None:
            return found
    for point in entry_points(group=f"tickover.{family}", name=name):
        return point.load()
    raise NotFoundError(
        "plugin.not_found",
        f"there is no `{name}` in the family `{family}`",
        hint=f"install a package that offers the entry point `tickover.{family}`: `{name}`",
    )
