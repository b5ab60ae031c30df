"""One control group per sandbox, below our own: memory, pids, cpu, freezer. Version 1 and 2.

Version 1 runs in our tests; version 2 is tested over a fake tree only, because no machine we test on offers its
controllers (SECURITY.md says so). Formats: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass, field
from typing import Final

_PERIOD: Final = 100_000  # microseconds


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
            path = f"{root}/{name}{group.rstrip('/')}"
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

    @classmethod
    def make(
        cls, hierarchy: Hierarchy, name: str, *, memory: int | None, pids: int | None, cpus: float | None
    ) -> Group:
        """Make the groups and set the limits; on failure nothing is left."""
        group = cls(hierarchy.version)
        try:
            if hierarchy.version == 2:
                group._make_v2(hierarchy, name, memory, pids, cpus)
            else:
                group._make_v1(hierarchy, name, memory, pids, cpus)
        except OSError:
            group.remove()
            raise
        return group

    def _make_v1(
        self, hierarchy: Hierarchy, name: str, memory: int | None, pids: int | None, cpus: float | None
    ) -> None:
        for controller, base in hierarchy.folders.items():
            folder = f"{base}/tickover-{name}"
            if not os.path.isdir(folder):  # cpu and cpuacct may be one
                os.mkdir(folder)
            self.folders[controller] = folder
        if memory is not None:
            _write(f"{self.folders['memory']}/memory.limit_in_bytes", memory)
            swap = f"{self.folders['memory']}/memory.memsw.limit_in_bytes"
            if os.path.exists(swap):
                _write(swap, memory)
        if pids is not None:
            _write(f"{self.folders['pids']}/pids.max", pids)
        if cpus is not None and "cpu" in self.folders:
            _write(f"{self.folders['cpu']}/cpu.cfs_period_us", _PERIOD)
            _write(f"{self.folders['cpu']}/cpu.cfs_quota_us", int(cpus * _PERIOD))

    def _make_v2(
        self, hierarchy: Hierarchy, name: str, memory: int | None, pids: int | None, cpus: float | None
    ) -> None:
        base = hierarchy.folders["freezer"]
        leaf = f"{base}/tickover-launcher"  # a group with limits may hold no process of its own
        if base != "/sys/fs/cgroup" and not os.path.isdir(leaf):
            os.mkdir(leaf)
            for pid in _read(f"{base}/cgroup.procs").split():
                _write(f"{leaf}/cgroup.procs", pid)
        wanted = [c for c in ("memory", "pids", "cpu") if c in hierarchy.folders]
        _write(f"{base}/cgroup.subtree_control", " ".join(f"+{controller}" for controller in wanted))
        folder = f"{base}/tickover-{name}"
        os.mkdir(folder)
        self.folders = dict.fromkeys(hierarchy.folders, folder)
        if memory is not None:
            _write(f"{folder}/memory.max", memory)
            if os.path.exists(f"{folder}/memory.swap.max"):
                _write(f"{folder}/memory.swap.max", 0)
            _write(f"{folder}/memory.oom.group", 1)
        if pids is not None:
            _write(f"{folder}/pids.max", pids)
        if cpus is not None and "cpu" in wanted:
            _write(f"{folder}/cpu.max", f"{int(cpus * _PERIOD)} {_PERIOD}")

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
            select.select([], [], [], 0.01)
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
    state = f"{folder}/freezer.state"
    if os.path.exists(state):
        _write(state, "THAWED")
    for _ in range(500):
        try:
            for pid in _read(f"{folder}/cgroup.procs").split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            select.select([], [], [], 0.01)  # dying processes leave in a moment
        else:
            return
    raise OSError(f"cannot empty {folder}")
