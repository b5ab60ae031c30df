"""What to start, as data, and the pure step from that to bwrap's arguments.

Each protection has a name. A launcher started with `--weaken-for-tests` leaves out those that a plan names in
`weaken`: that is how every escape test proves that it bites. Any other launcher refuses such a plan.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tickover.sandbox.launcher.skeleton import EMPTY, OURS, system_arguments

PROTECTIONS: Final = (
    "system_call_filter",
    "empty_network",
    "private_processes",
    "private_ipc",
    "no_capabilities",
    "empty_environment",
    "closed_descriptors",
    "base_allowlist",
    "private_uids",
    "dies_with_launcher",
    "memory_limit",
    "process_limit",
    "disk_limit",
    "core_dumps_off",
    "small_shared_memory",
    "read_only_binds",
)

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")

_SHARED_MEMORY: Final = 256 << 20  # bytes; Docker's default is 64 MiB, browsers want more
_NUMBERS: Final = {"memory": 1 << 20, "cpus": 0.01, "pids": 4, "disk": 1 << 20}
_MOST: Final = 1 << 50
NAMES_PORT: Final = 53
PROXY_PORT: Final = 3128
TAKEN_PORTS: Final = frozenset({NAMES_PORT, PROXY_PORT})
MOST_PORTS: Final = 64
"""Listeners of one sandbox, beside names and the proxy: descriptors that cross a socket together (at most 253)."""


class PlanError(ValueError):
    """A plan that this launcher will not start."""


@dataclass(frozen=True, slots=True)
class Layers:
    """An overlay: paths relative to the data folder, bottom first; `upper` a name or None (read-only)."""

    target: str
    lowers: tuple[str, ...]
    upper: str | None


@dataclass(frozen=True, slots=True)
class Show:
    """A bind mount; `source` relative to the data folder."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """One sandbox, complete."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    root: Layers
    overlays: tuple[Layers, ...] = ()
    binds: tuple[Show, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    uid: int = 1000
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    disk: int | None = None
    open_files: int = 4096
    sealable: bool = False
    listen: tuple[int, ...] | None = None
    """Ports for listeners inside, beside names and the proxy; None = no listener at all."""
    weaken: frozenset[str] = field(default_factory=frozenset)

    def keeps(self, protection: str) -> bool:
        return protection not in self.weaken

    @property
    def uppers(self) -> tuple[str, ...]:
        return tuple(layers.upper for layers in (self.root, *self.overlays) if layers.upper is not None)

    def file_binds(self) -> list[tuple[str, str]]:
        """Return (path relative to the folder of files, target): our own top folders whole, other files one by one."""
        others = (*(layers.target for layers in self.overlays), *(bind.target for bind in self.binds))
        whole = set(OURS) - {target.split("/")[1] for target in others if target != "/"}
        tops = sorted({target.split("/")[1] for target in self.files} & whole)
        alone = [target for target in sorted(self.files) if target.split("/")[1] not in whole]
        return [(top, f"/{top}") for top in tops] + [(target[1:], target) for target in alone]

    def ways(self) -> Iterator[str]:
        """Yield, below the data folder, every path that a mount's target passes through in an overlay's lowers.

        None may be a symlink: bwrap makes missing folders on the way to a target, and would make them on the host.
        """
        binds = [bind.target for bind in self.binds] + [target for _, target in self.file_binds()]
        for target in [*(layers.target for layers in self.overlays), *binds]:
            for layers in (self.root, *self.overlays):
                base = layers.target.rstrip("/") + "/"
                if target.startswith(base):
                    parts = target.removeprefix(base).split("/")
                    for length in range(1, len(parts) + 1):
                        yield from (f"{lower}/{'/'.join(parts[:length])}" for lower in layers.lowers)


def _target(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or posixpath.normpath(value) != value or value[:1] != "/":
        raise PlanError(f"not an absolute path inside: {value!r}")
    if value.startswith("//"):
        raise PlanError(f"not an absolute path inside: {value!r}")
    return value


def relative(value: Any) -> str:
    """Return a path below the data folder as it is. Raises PlanError for one that could leave it."""
    if not isinstance(value, str) or not value or value.startswith("/") or "\0" in value or ".." in value.split("/"):
        raise PlanError(f"not a path below the data folder: {value!r}")
    return value


def _layers(data: dict[str, Any]) -> Layers:
    upper = data.get("upper")
    if upper is not None and not NAME.fullmatch(upper):
        raise PlanError(f"not a name: {upper!r}")
    return Layers(_target(data["target"]), tuple(relative(path) for path in data["lowers"]), upper)


def _files(data: dict[str, str]) -> dict[str, bytes]:
    files = {_target(target): base64.b64decode(text, validate=True) for target, text in data.items()}
    for target in files:
        if target.count("/") < 2:
            raise PlanError(f"a file needs a folder of its own: {target!r}")
        parent = posixpath.dirname(target)
        while parent != "/":
            if parent in files:
                raise PlanError(f"{parent!r} is a file and a folder")
            parent = posixpath.dirname(parent)
    return files


def _number(data: dict[str, Any], name: str) -> Any:
    value = data[name]
    if value is not None and not (type(value) in (int, float) and _NUMBERS[name] <= value <= _MOST):
        raise PlanError(f"{name} is {value!r}; it is a number of at least {_NUMBERS[name]}, or none")
    return value if value is None or name == "cpus" else int(value)


def _ports(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    ports = tuple(value)
    if len(ports) > MOST_PORTS or len(set(ports)) != len(ports):
        raise PlanError(f"listeners are asked for at {len(ports)} ports: at most {MOST_PORTS}, each once")
    if any(type(port) is not int or not 0 < port < 65536 or port in TAKEN_PORTS for port in ports):
        raise PlanError(f"a port is a number from 1 to 65535 and none of {sorted(TAKEN_PORTS)}: {ports}")
    return ports


def parse(text: bytes, *, may_weaken: bool) -> Plan:
    """Parse and judge a plan from the unprivileged side. Raises PlanError."""
    try:
        data = json.loads(text)
        plan = Plan(
            name=data["name"],
            argv=tuple(data["argv"]),
            env={str(key): str(value) for key, value in data["env"].items()},
            cwd=_target(data["cwd"]),
            root=_layers(data["root"]),
            overlays=tuple(_layers(item) for item in data["overlays"]),
            binds=tuple(Show(relative(b["source"]), _target(b["target"]), bool(b["writable"])) for b in data["binds"]),
            files=_files(data["files"]),
            uid=int(data["uid"]),
            memory=_number(data, "memory"),
            cpus=_number(data, "cpus"),
            pids=_number(data, "pids"),
            disk=_number(data, "disk"),
            open_files=int(data["open_files"]),
            sealable=bool(data["sealable"]),
            listen=_ports(data.get("listen")),
            weaken=frozenset(data.get("weaken", ())),
        )
        words = (*plan.argv, *plan.env, *plan.env.values())
        if not plan.argv or not plan.argv[0] or any("\0" in word for word in words) or "" in plan.env:
            raise PlanError("argv is empty, or a word of argv or env is none")
        if not NAME.fullmatch(plan.name):
            raise PlanError(f"not a name: {plan.name!r}")
    except PlanError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"malformed plan: {error!r}") from error
    if not 0 <= plan.uid < 65534:
        raise PlanError(f"uid {plan.uid} is outside the sandbox's range")
    if plan.open_files < 16:
        raise PlanError(f"{plan.open_files} open files are too few to start anything")
    if any("=" in name for name in plan.env):
        raise PlanError("a name in env holds `=`")
    if len(plan.uppers) != len(set(plan.uppers)):
        raise PlanError("two overlays share one upper")
    if plan.weaken and not may_weaken:
        raise PlanError("this launcher weakens nothing")
    if plan.weaken - set(PROTECTIONS):
        raise PlanError(f"unknown protections: {sorted(plan.weaken - set(PROTECTIONS))}")
    return plan


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Numbers of inherited descriptors that bwrap reads or writes."""

    arguments: int
    status: int
    block: int
    seccomp: int


def bwrap_options(
    plan: Plan,
    place: Callable[[str, bool], str],
    upper: Callable[[str], tuple[str, str]],
    files: Callable[[str], str],
    fds: Descriptors,
) -> list[str]:
    """Return bwrap's options, for `--args`: its command line shows neither environment nor host paths.

    `place` gives the visible path of a source below the data folder (source, writable), `upper` the (upper, work)
    folders of a name, `files` the path of one of our staged files.
    """
    uid = str(plan.uid if plan.keeps("private_uids") else 0)
    options = ["--unshare-user", "--uid", uid, "--gid", uid]
    options += ["--unshare-uts", "--hostname", "sandbox", "--unshare-cgroup-try", "--new-session", "--clearenv"]
    options += _flag(plan, "dies_with_launcher", ["--die-with-parent"])
    options += _flag(plan, "empty_network", ["--unshare-net"])
    options += _flag(plan, "private_processes", ["--unshare-pid"])
    options += _flag(plan, "private_ipc", ["--unshare-ipc"])
    options += ["--cap-drop", "ALL"] if plan.keeps("no_capabilities") else ["--cap-add", "ALL"]
    if plan.keeps("base_allowlist"):
        options += [*_overlay(plan.root, place, upper), *system_arguments()]
    else:
        options += ["--bind", "/", "/"]
    options += ["--proc", "/proc", "--dev", "/dev"]
    if plan.keeps("small_shared_memory"):
        # /dev is a tmpfs that the sandbox owns: read-only, so that RAM cannot be filled through it.
        options += ["--size", str(_SHARED_MEMORY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108
    for layers in plan.overlays:
        options += _overlay(layers, place, upper)
    for bind in plan.binds:
        writable = bind.writable or not plan.keeps("read_only_binds")
        options += ["--bind" if writable else "--ro-bind", place(bind.source, writable), bind.target]
    for path, target in plan.file_binds():
        options += ["--ro-bind", files(path), target]
    for name, value in plan.env.items():
        options += ["--setenv", name, value]
    options += ["--chdir", plan.cwd]
    options += _flag(plan, "system_call_filter", ["--seccomp", str(fds.seccomp)])
    return [*options, "--json-status-fd", str(fds.status), "--block-fd", str(fds.block)]


def _flag(plan: Plan, protection: str, options: list[str]) -> Iterable[str]:
    return options if plan.keeps(protection) else ()


def _overlay(layers: Layers, place: Callable[[str, bool], str], upper: Callable[[str], tuple[str, str]]) -> list[str]:
    sources = [place(lower, False) for lower in layers.lowers]
    words = [word for source in sources for word in ("--overlay-src", source)]
    if layers.upper is not None:
        return [*words, "--overlay", *upper(layers.upper), layers.target]
    if len(sources) == 1:  # an overlay needs two layers to be read-only
        return ["--ro-bind", sources[0], layers.target]
    return [*words, "--ro-overlay", layers.target]


def fixed_folders() -> frozenset[str]:
    """Return the folders of the base (relative) that a layer must leave folders: bwrap mounts on some of them."""
    folders = set(EMPTY)
    words = system_arguments()
    folders |= {target[1:] for target in words[2::3] if target.startswith("/etc/")}
    return frozenset(folders | {posixpath.dirname(folder) for folder in folders} - {""})
