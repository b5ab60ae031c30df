"""Agent builds: a CLI of one exact version, installed once by npm in a sandbox, kept as a sealed root layer.

DATA/agents/NAME@VERSION.json says that a version was installed here. The layer itself lies on a shelf like a setup's;
one that is gone is installed again. Nothing of an agent is ever installed on the host. What `agent canary` found of a
build is a note of its own (canaries.py): a routine that pins no version never gets one that was found worse.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tickover.agents.base import Package
from tickover.core.canary import CanaryNote
from tickover.core.errors import UsageError
from tickover.sandbox.base import Backend, ResourceLimits
from tickover.workspace.base import TrustedFile
from tickover.workspace.canaries import Canaries
from tickover.workspace.folders import Folders
from tickover.workspace.layer import Layers, Setup, host_base
from tickover.workspace.shelf import Held, Shelf

_KIND: Final = "agents"
PREFIX: Final = "/home/agent/.tickover/agents"
NETWORK: Final = ("packages",)
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9._+-]{0,40}")
_LIMITS: Final = ResourceLimits(memory=2 << 30, cpus=2.0, pids=256, disk=4 << 30)
_TIMEOUT_S: Final = 900.0
_LARGEST_MANIFEST: Final = 1 << 20
_FOREVER_S: Final = 100 * 365 * 86400.0
_SCRIPT: Final = """\
export npm_config_cache=/workspace/.npm npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false
mkdir -p {prefix}
npm install --prefix {prefix} {words}
{program} --version
"""


@dataclass(frozen=True, slots=True)
class Build:
    """A version of an agent that was installed on this machine. `bytes` is what its layer takes.

    `canary` is what was found of exactly this layer, None if nobody compared it.
    """

    agent: str
    version: str
    installed_at: float
    bytes: int
    key: str = ""
    canary: CanaryNote | None = None

    @property
    def held(self) -> bool:
        """Whether a routine that pins no version does not get it."""
        return self.canary is not None and self.canary.held

    def __str__(self) -> str:
        return f"{self.agent}@{self.version}"


class Builds:
    """The builds below a data folder."""

    def __init__(self, data: Path, backend: Backend | None = None) -> None:
        self._data = Path(os.path.realpath(data))
        self._notes = self._data / "agents"
        self._backend = backend
        self.canaries = Canaries(self._notes)

    def installed(self, agent: str = "") -> list[Build]:
        """List what was installed, by agent and the newest version first."""
        found = []
        for path in self._notes.glob("*@*.json") if self._notes.is_dir() else ():
            name, _, version = path.name.removesuffix(".json").partition("@")
            if not agent or name == agent:
                note, canary = json.loads(path.read_text()), self.canaries.get(f"{name}@{version}")
                if canary is not None and canary.key not in {"", note["key"]}:  # it was of other packages
                    canary = None
                found.append(Build(name, version, note["installed_at"], note["bytes"], note["key"], canary))
        found.sort(key=lambda build: _order(build.version), reverse=True)
        return sorted(found, key=lambda build: build.agent)

    def version(self, agent: str, pinned: str | None) -> str:
        """Return the version to use: the pinned one, else the newest installed that is not held. Raises UsageError."""
        if pinned is not None:
            return checked(agent, pinned)
        if not (found := self.installed(agent)):
            text = f"no build of `{agent}` is installed, and the routine pins none"
            raise UsageError("agent.not_installed", text, hint=f"tickover agent install {agent}@VERSION")
        if (usable := next((each for each in found if not each.held), None)) is None:
            text = f"`tickover agent canary` found every installed build of `{agent}` worse, or did not finish"
            raise UsageError("agent.held", text, hint=f"pin one (`agent: {agent}@VERSION`), or compare it again")
        return usable.version

    def find(self, agent: str, version: str) -> Held | None:
        """Return the layer of a version that is installed, or None."""
        note = self._notes / f"{agent}@{checked(agent, version)}.json"
        if not note.exists():
            return None
        return Shelf(self._data / "layers" / _KIND).get(json.loads(note.read_text())["key"])

    async def get(self, agent: str, version: str, package: Package, archives: Sequence[Path] = ()) -> Held:
        """Return the layer of a version, installed now unless it is there. `archives` are npm packages to take it from.

        Raises SetupFailed with what npm said, UsageError for what is no version; then nothing is kept.
        """
        if self._backend is None:
            raise RuntimeError("opened without a sandbox")
        folders = Folders(self._data, self._backend)
        layers = Layers(self._data, self._backend, folders, kind=_KIND)
        setup = _setup(agent, checked(agent, version), package, archives)
        if not archives and (there := self.find(agent, version)) is not None:
            return there  # perhaps from archives: then that is what it is
        note = self._notes / f"{agent}@{version}.json"
        held, result = await layers.get(setup, limits=_LIMITS, timeout_s=_TIMEOUT_S)
        self._notes.mkdir(mode=0o700, exist_ok=True)
        making = note.with_name(f"{note.name}.new")
        making.write_text(json.dumps({"key": result.key, "installed_at": time.time(), "bytes": result.size}))
        making.replace(note)
        return held


def program(agent: str, package: Package) -> str:
    """Return where an installed agent's program is inside a sandbox."""
    return f"{PREFIX}/{agent}/{package.program}"


def checked(agent: str, version: str) -> str:
    """Return what is an exact version. Raises UsageError for a tag or a range: it would not stay what it is."""
    if _VERSION.fullmatch(version):
        return version
    text = f"`{version}` is no exact version of `{agent}`"
    raise UsageError("agent.version", text, hint=f"write it as {agent}@1.2.3")


def _setup(agent: str, version: str, package: Package, archives: Sequence[Path]) -> Setup:
    prefix = f"{PREFIX}/{agent}"
    files = tuple(TrustedFile(f"archives/{path.name}", path.read_bytes()) for path in archives)
    words = [f"{package.npm}@{version}"]
    if files:
        words = ["--offline", *(_named(file, package.npm, version) for file in files)]
    script = _SCRIPT.format(prefix=prefix, words=shlex.join(words), program=program(agent, package))
    network = "none" if files else NETWORK
    return Setup(script=script, files=files, base=host_base(), network=network, refresh_s=_FOREVER_S)


def _named(archive: TrustedFile, npm: str, version: str) -> str:
    """Return how npm is told of an archive: by the name under which the agent depends on it.

    Some publish what a platform needs as a version of their own package (`1.2.3-linux-x64`) and depend on it as
    `NAME-linux-x64`.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive.data)) as members:
            manifest = members.extractfile("package/package.json")
            about = json.loads(manifest.read(_LARGEST_MANIFEST)) if manifest is not None else {}
        name, its = str(about["name"]), str(about["version"])
    except (tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise UsageError("agent.archive", f"{archive.path} is no npm package: {error}") from None
    if name == npm and its.startswith(f"{version}-"):
        name += its.removeprefix(version)
    return f"{name}@file:/workspace/{archive.path}"


def _order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Order versions as npm does, near enough: numbers first, and a pre-release before its release."""
    numbers, dash, rest = version.partition("-")
    return tuple(int(part) for part in re.findall(r"\d+", numbers)), not dash, rest
