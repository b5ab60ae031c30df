"""What to start, as data, and the pure step from that to bwrap's arguments.

Each protection has a name. A launcher started with `--weaken-for-tests` leaves out those that a plan names in
`weaken`: that is how every escape test proves that it bites. Any other launcher refuses such a plan.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tickover.sandbox.launcher.skeleton import system_arguments

PROTECTIONS: Final = (
    "system_call_filter",
    "empty_network",
    "private_processes",
    "private_ipc",
    "new_session",
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
    "private_mounts_only",
)

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
USERNS_FD: Final = 9
"""One digit, because dash closes no other; bwrap leaks the descriptor of --userns into the command."""

_SHARED_MEMORY: Final = 256 << 20  # bytes; Docker's default is 64 MiB, browsers want more


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
    uid: int = 1000
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    disk: int | None = None
    files: int = 4096
    sealable: bool = False
    weaken: frozenset[str] = field(default_factory=frozenset)

    def keeps(self, protection: str) -> bool:
        return protection not in self.weaken

    @property
    def uppers(self) -> tuple[str, ...]:
        return tuple(layers.upper for layers in (self.root, *self.overlays) if layers.upper is not None)


def _target(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value or ".." in value.split("/"):
        raise PlanError(f"not an absolute path inside: {value!r}")
    return value


def _source(value: Any) -> str:
    if not isinstance(value, str) or not value or value.startswith("/") or "\0" in value or ".." in value.split("/"):
        raise PlanError(f"not a path below the data folder: {value!r}")
    return value


def _layers(data: dict[str, Any]) -> Layers:
    upper = data.get("upper")
    if upper is not None and not NAME.fullmatch(upper):
        raise PlanError(f"not a name: {upper!r}")
    return Layers(_target(data["target"]), tuple(_source(path) for path in data["lowers"]), upper)


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
            binds=tuple(Show(_source(b["source"]), _target(b["target"]), bool(b["writable"])) for b in data["binds"]),
            uid=int(data["uid"]),
            memory=data["memory"],
            cpus=data["cpus"],
            pids=data["pids"],
            disk=data["disk"],
            files=int(data["files"]),
            sealable=bool(data["sealable"]),
            weaken=frozenset(data.get("weaken", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"malformed plan: {error!r}") from error
    if not NAME.fullmatch(plan.name):
        raise PlanError(f"not a name: {plan.name!r}")
    if not 0 <= plan.uid < 65534:
        raise PlanError(f"uid {plan.uid} is outside the sandbox's range")
    if not plan.argv or any("\0" in word for word in (*plan.argv, *plan.env, *plan.env.values())):
        raise PlanError("argv is empty, or a word of argv or env holds a NUL")
    if plan.weaken and not may_weaken:
        raise PlanError("this launcher weakens nothing")
    if plan.weaken - set(PROTECTIONS):
        raise PlanError(f"unknown protections: {sorted(plan.weaken - set(PROTECTIONS))}")
    return plan


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Numbers of inherited descriptors that bwrap reads or writes."""

    info: int
    block: int
    seccomp: int


def bwrap_arguments(
    plan: Plan, place: Callable[[str], str], upper: Callable[[str], tuple[str, str]], fds: Descriptors, *, as_root: bool
) -> list[str]:
    """Return bwrap's arguments. `place` gives the visible path of a source, `upper` the (upper, work) of a name."""
    arguments = ["--unshare-uts", "--hostname", "sandbox", "--unshare-cgroup-try", "--clearenv"]
    if plan.keeps("private_uids") and as_root:
        arguments += ["--userns", str(USERNS_FD)]
    elif not as_root:
        arguments += ["--unshare-user"]
    if plan.keeps("private_uids") or not as_root:
        arguments += ["--uid", str(plan.uid), "--gid", str(plan.uid)]
    arguments += _flag(plan, "dies_with_launcher", ["--die-with-parent"])
    arguments += _flag(plan, "empty_network", ["--unshare-net"])
    arguments += _flag(plan, "private_processes", ["--unshare-pid"])
    arguments += _flag(plan, "private_ipc", ["--unshare-ipc"])
    arguments += _flag(plan, "new_session", ["--new-session"])
    arguments += ["--cap-drop", "ALL"] if plan.keeps("no_capabilities") else ["--cap-add", "ALL"]
    if plan.keeps("base_allowlist"):
        arguments += [*_overlay(plan.root, place, upper), *system_arguments()]
    else:
        arguments += ["--bind", "/", "/"]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    if plan.keeps("small_shared_memory"):
        # /dev is a tmpfs that the sandbox owns: read-only, so that RAM cannot be filled through it.
        arguments += ["--size", str(_SHARED_MEMORY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108
    for layers in plan.overlays:
        arguments += _overlay(layers, place, upper)
    for bind in plan.binds:
        arguments += ["--bind" if bind.writable else "--ro-bind", place(bind.source), bind.target]
    for name, value in plan.env.items():
        arguments += ["--setenv", name, value]
    arguments += ["--chdir", plan.cwd]
    arguments += _flag(plan, "system_call_filter", ["--seccomp", str(fds.seccomp)])
    arguments += ["--info-fd", str(fds.info), "--block-fd", str(fds.block), "--"]
    if as_root and plan.keeps("private_uids") and plan.keeps("closed_descriptors"):
        arguments += ["/bin/sh", "-c", f'exec {USERNS_FD}>&-; exec "$@"', "sh"]
    return [*arguments, *plan.argv]


def _flag(plan: Plan, protection: str, arguments: list[str]) -> Iterable[str]:
    return arguments if plan.keeps(protection) else ()


def _overlay(layers: Layers, place: Callable[[str], str], upper: Callable[[str], tuple[str, str]]) -> list[str]:
    sources = [place(lower) for lower in layers.lowers]
    if layers.upper is not None:
        top, work = upper(layers.upper)
        return [
            *(word for source in sources for word in ("--overlay-src", source)),
            "--overlay",
            top,
            work,
            layers.target,
        ]
    if len(sources) == 1:  # an overlay needs two layers to be read-only
        return ["--ro-bind", sources[0], layers.target]
    return [*(word for source in sources for word in ("--overlay-src", source)), "--ro-overlay", layers.target]
