"""One control group per sandbox, below our own: memory, pids, cpu, freezer. Version 1 and 2.

Version 1 runs in our tests; version 2 is tested over a fake tree only, because no machine we test on offers its
controllers (SECURITY.md says so). Formats: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from typing import Final

from tickover.sandbox.launcher import kernel

PREFIX: Final = "tickover-"
_PERIOD: Final = 100_000  # microseconds
_OPTIONAL: Final = ("memory.memsw.limit_in_bytes", "memory.swap.max")  # absent where the kernel counts no swap


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where we may make groups: controller -> our own folder (v1), or one folder for all (v2)."""

    version: int
    folders: dict[str, str]

    @property
    def enforces(self) -> tuple[str, ...]:
        return tuple(name for name in ("memory", "pids", "cpu", "freezer") if name in self.folders)


def discover(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> Hierarchy | None:
    """Find where this process may make child groups; None if nowhere (an ordinary user without delegation)."""
    with open(own, encoding="ascii", errors="replace") as lines:
        mine = [line.rstrip("\n").split(":", 2) for line in lines]
    controllers = f"{root}/cgroup.controllers"
    if os.path.exists(controllers):
        path = root + next((group for number, _, group in mine if number == "0"), "/").rstrip("/")
        try:
            with open(f"{path}/cgroup.controllers", encoding="ascii") as text:
                offered = set(text.read().split())
        except OSError:
            return None
        wanted = [name for name in ("memory", "pids", "cpu") if name in offered]
        if not wanted or not os.access(path, os.W_OK):
            return None
        return Hierarchy(2, dict.fromkeys([*wanted, "freezer"], path))
    folders = {}
    for _, names, group in mine:
        for name in names.split(","):
            path = os.path.realpath(f"{root}/{name}{group.rstrip('/')}")  # cpu and cpuacct may be one
            if name in {"memory", "pids", "cpu", "freezer", "cpuacct"} and os.access(path, os.W_OK):
                folders[name] = path
    return Hierarchy(1, folders) if "pids" in folders and "memory" in folders else None


def _write(path: str, value: object) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def _keyed(path: str, key: str) -> int:
    for line in _read(path).splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


@dataclass(slots=True)
class Group:
    """The control groups of one sandbox."""

    version: int
    folders: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def paths_of(hierarchy: Hierarchy, name: str) -> list[str]:
        """Return the folders that `make` will make."""
        return sorted({f"{base}/{PREFIX}{name}" for base in hierarchy.folders.values()})

    @classmethod
    def make(cls, hierarchy: Hierarchy, name: str) -> Group:
        """Make the groups; on failure nothing is left. The name must be nobody else's."""
        if hierarchy.version == 2:
            _open_v2(hierarchy)
        group = cls(hierarchy.version)
        try:
            for folder in cls.paths_of(hierarchy, name):
                os.mkdir(folder)
                group.folders |= {
                    c: folder for c, base in hierarchy.folders.items() if folder == f"{base}/{PREFIX}{name}"
                }
        except OSError:
            group.remove()
            raise
        return group

    def limit(self, *, memory: int | None, pids: int | None, cpus: float | None) -> None:
        """Set the limits: bytes, processes, CPUs."""
        if self.version == 2:
            values: tuple[tuple[str, str, object], ...] = (
                ("memory", "memory.max", memory),
                ("memory", "memory.swap.max", None if memory is None else 0),
                ("memory", "memory.oom.group", None if memory is None else 1),
                ("pids", "pids.max", pids),
                ("cpu", "cpu.max", None if cpus is None else f"{int(cpus * _PERIOD)} {_PERIOD}"),
            )
        else:
            values = (
                ("memory", "memory.limit_in_bytes", memory),
                ("memory", "memory.memsw.limit_in_bytes", memory),
                ("pids", "pids.max", pids),
                ("cpu", "cpu.cfs_period_us", None if cpus is None else _PERIOD),
                ("cpu", "cpu.cfs_quota_us", None if cpus is None else int(cpus * _PERIOD)),
            )
        for controller, name, value in values:
            if value is None or controller not in self.folders:
                continue
            path = f"{self.folders[controller]}/{name}"
            if name not in _OPTIONAL or os.path.exists(path):
                _write(path, value)

    def _paths(self) -> list[str]:
        return sorted(set(self.folders.values()))

    def join(self) -> None:
        """Move the calling process in (before it gives up its rights)."""
        for folder in self._paths():
            _write(f"{folder}/cgroup.procs", 0)

    def freeze(self, frozen: bool) -> None:
        """Stop or continue every process in the group, and wait until that is so."""
        folder = self.folders["freezer"]
        if self.version == 2:
            _write(f"{folder}/cgroup.freeze", int(frozen))
        else:
            _write(f"{folder}/freezer.state", "FROZEN" if frozen else "THAWED")
        for _ in range(500):
            if self._is_frozen() == frozen:
                return
            kernel.pause(0.01)
        raise OSError(f"the processes of {folder} do not freeze")

    def _is_frozen(self) -> bool:
        folder = self.folders["freezer"]
        if self.version == 2:
            return _keyed(f"{folder}/cgroup.events", "frozen") == 1
        return _read(f"{folder}/freezer.state").strip() == "FROZEN"

    def oom_kills(self) -> int:
        """How often the kernel killed here for memory."""
        if "memory" not in self.folders:
            return 0
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return _keyed(f"{self.folders['memory']}/{name}", "oom_kill")

    def usage(self) -> tuple[float | None, int | None]:
        """CPU seconds used and peak memory in bytes, where the kernel counts them."""
        cpu: float | None = None
        peak: int | None = None
        try:
            if self.version == 2:
                folder = self.folders["freezer"]
                cpu = _keyed(f"{folder}/cpu.stat", "usage_usec") / 1e6
                peak = int(_read(f"{folder}/memory.peak"))
            else:
                peak = int(_read(f"{self.folders['memory']}/memory.max_usage_in_bytes"))
                if "cpuacct" in self.folders:
                    cpu = int(_read(f"{self.folders['cpuacct']}/cpuacct.usage")) / 1e9
        except (OSError, KeyError):
            return cpu, peak
        return cpu, peak

    def remove(self) -> None:
        """Kill what is left and remove the groups. Idempotent."""
        for folder in self._paths():
            remove_folder(folder)
        self.folders = {}


def remove_folder(folder: str) -> None:
    """Kill every process in one group folder and remove it; used by the sweep too."""
    for _ in range(500):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            _kill_members(folder)
            kernel.pause(0.005)  # dying processes leave in a moment
        else:
            return
    raise OSError(f"cannot empty {folder}")


def _kill_members(folder: str) -> None:
    if os.path.exists(state := f"{folder}/freezer.state"):
        _write(state, "THAWED")
    if os.path.exists(kill := f"{folder}/cgroup.kill"):
        _write(kill, 1)
    for pid in map(int, _read(f"{folder}/cgroup.procs").split()):
        if pid > 0:  # 0 is a process that our pid namespace does not see
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _open_v2(hierarchy: Hierarchy) -> None:
    """Let children of our group have controllers: a group with limits below it may hold no process itself."""
    base = hierarchy.folders["freezer"]
    wanted = [name for name in ("memory", "pids", "cpu") if name in hierarchy.folders]
    if set(wanted) <= set(_read(f"{base}/cgroup.subtree_control").split()):
        return
    if os.path.exists(f"{base}/cgroup.type"):  # not the machine's root group
        leaf = f"{base}/{PREFIX}launcher"
        os.makedirs(leaf, exist_ok=True)
        for pid in _read(f"{base}/cgroup.procs").split():
            with contextlib.suppress(ProcessLookupError):
                _write(f"{leaf}/cgroup.procs", pid)
    _write(f"{base}/cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))
