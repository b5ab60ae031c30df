"""The presets that ship with Tickover: names for the hosts of well-known services, one JSON file each.

A file says when and where its hosts were looked up. It cannot allow private addresses: that is the instance's alone.
The preset `packages` is no file: its hosts are those of the machine's own pip, npm and apt, found when it is asked.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tickover.core.errors import TickoverError, Where
from tickover.core.host import HostError
from tickover.core.network import Endpoint, Preset

PACKAGES = "packages"
"""The name that no file may take."""


class PresetError(TickoverError):
    """A preset's file is wrong: the installation is damaged, or a packager's mistake."""


class PresetFile(BaseModel):
    """What stands in a file: a date (YYYY-MM-DD) and a source with the hosts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hosts: tuple[str, ...] = Field(min_length=1)
    about: str = Field(min_length=1)
    source: str = Field(pattern=r"^https://\S+$")
    as_of: str = Field(pattern=r"^20\d\d-[01]\d-[0-3]\d$")
    inspect: bool = False


def read_preset(name: str, text: str | bytes) -> Preset:
    """Read one file. Raises PresetError naming it."""
    where = Where(file=f"presets/{name}.json")
    try:
        found = PresetFile.model_validate_json(text)
        for host in found.hosts:
            Endpoint.parse(host)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise PresetError("preset.malformed", f"{place}: {first['msg']}", where=where) from error
    except HostError as error:
        raise PresetError("preset.malformed", error.message, where=where) from error
    return Preset(name, found.hosts, inspect=found.inspect)


@cache
def presets() -> dict[str, Preset]:
    """Load every preset that ships, by its name."""
    folder = files(__package__) / "presets"
    found = sorted((each for each in folder.iterdir() if each.name.endswith(".json")), key=lambda each: each.name)
    return {
        each.name.removesuffix(".json"): read_preset(each.name.removesuffix(".json"), each.read_bytes())
        for each in found
    }
