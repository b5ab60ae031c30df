"""What `agent canary` found of builds: DATA/agents/canary/NAME@VERSION.json, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from tickover.core.canary import CanaryNote

_FOLDER: Final = "canary"


class Canaries:
    """The notes below the folder that holds the builds' own."""

    def __init__(self, agents: Path) -> None:
        self._folder = agents / _FOLDER

    def get(self, build: str) -> CanaryNote | None:
        """Return what is known of NAME@VERSION. A note that cannot be read is one that was never finished."""
        try:
            return CanaryNote.model_validate_json((self._folder / f"{build}.json").read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            return CanaryNote(build=build)

    def put(self, note: CanaryNote) -> None:
        """Keep a note instead of the one before."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{note.build}.json"
        making = path.with_name(f"{path.name}.new")
        making.write_text(note.model_dump_json())
        making.replace(path)
