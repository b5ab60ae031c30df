"""`tickover.yaml`, the instance's configuration, to an Instance. Read at every run: a change needs no restart."""

from __future__ import annotations

import os
from pathlib import Path

from tickover.core.errors import DefinitionErrors, TickoverError, UsageError, Where
from tickover.core.instance import Instance
from tickover.routines.loader import validated
from tickover.routines.yaml import MAX_BYTES, YamlError, decode, parse

FILE = "tickover.yaml"
VARIABLE = "TICKOVER_CONFIG"


def config_path(home: Path) -> tuple[Path, bool]:
    """Return where the configuration is, and whether somebody said so ($TICKOVER_CONFIG) rather than nobody."""
    given = os.environ.get(VARIABLE)
    return (Path(os.path.abspath(given)), True) if given else (home / FILE, False)


def load_instance(home: Path) -> Instance:
    """Read the configuration; without a file it is empty. Paths in it are relative to the file.

    Raises DefinitionErrors with every problem and its place; a file that was named and is not there is one.
    """
    path, named = config_path(home)
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if not named:
            return Instance()
        hint = f"{VARIABLE} names it"
        problem: TickoverError = UsageError("config.not_found", "there is no such file", hint=hint, where=_at(path))
        raise DefinitionErrors([problem]) from None
    except OSError as error:
        text = f"the configuration cannot be read: {error.strerror}"
        raise DefinitionErrors([UsageError("config.unreadable", text, where=_at(path))]) from None
    return read_instance(raw, path)


def read_instance(raw: bytes, path: Path) -> Instance:
    """Read the text of a configuration that stands at `path`. Raises DefinitionErrors."""
    file = str(path)
    try:
        document = parse(decode(raw, file), file)
    except YamlError as error:
        raise DefinitionErrors([error]) from None
    instance = validated(Instance, document, file)
    roots = tuple(str(path.parent / each) for each in instance.network.roots)
    return instance.model_copy(update={"network": instance.network.model_copy(update={"roots": roots})})


def _at(path: Path) -> Where:
    return Where(file=str(path))
