"""The program that `doctor` starts inside, and what its answers mean."""

from __future__ import annotations

import json
from typing import Any, Final

from tickover.sandbox.base import BackendReport, Capability, Exit

PROBE: Final = r"""
import json, os, socket
def status(key):
    return next((l.split(":", 1)[1].strip() for l in open("/proc/self/status") if l.startswith(key + ":")), "")
def read(path):
    try:
        return open(path, "rb").read().decode(errors="replace")
    except OSError as error:
        return "!" + str(error.errno)
def dial(address):
    try:
        socket.create_connection(address, 1).close(); return "connected"
    except OSError as error:
        return str(error.errno)
fds = os.listdir("/proc/self/fd")
print(json.dumps({
    "seccomp": status("Seccomp"), "no_new_privs": status("NoNewPrivs"), "capabilities": status("CapEff"),
    "environment": len(read("/proc/1/environ")),
    "interfaces": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else
        [l.split(":")[0].strip() for l in open("/proc/net/dev").readlines()[2:]],
    "processes": [p for p in os.listdir("/proc") if p.isdigit()], "outside": dial(("169.254.169.254", 80)),
    "passwd": read("/etc/passwd").count("\n"), "shadow": read("/etc/shadow")[:2], "descriptors": fds,
    "core": __import__("resource").getrlimit(4)[0], "uid": os.getuid(),
}))
"""

_NEVER: Final = (
    "a bug in the host's kernel (use a microVM for code you believe hostile)",
    "files below /usr, /bin and /lib that the host lets everyone read",
    "timing and cache side channels between two runs on one machine",
)


def read_probe(said: bytes, ended: Exit, facts: dict[str, Any], *, host_uid: int) -> BackendReport:
    """Judge the probe's answers. What it could not show is not in force."""
    try:
        seen = json.loads(said)
    except ValueError:
        return BackendReport(
            "bwrap", "sandbox", usable=False, capabilities=(), not_protected=_NEVER, hint=f"exit {ended.code}"
        )
    root = facts["as_root"]
    grouped = facts["cgroup"] is not None
    group = f"cgroup v{facts['cgroup']}" if grouped else ""
    alone = (
        f"host uid {host_uid}, of a range of 65,536 for this run only"
        if root
        else "one uid: the user who runs Tickover"
    )
    image = "an ext4 image of that size" if facts["images"] else "a watcher: what is written between two looks passes"
    seen_network = f"interfaces {seen['interfaces']}"
    hidden = seen["passwd"] == 3 and seen["shadow"].startswith("!")
    capabilities = (
        Capability("system call filter", seen["seccomp"] == "2", f"seccomp mode {seen['seccomp']}"),
        Capability("no new privileges", seen["no_new_privs"] == "1", "set-id programs gain nothing"),
        Capability("no capabilities", int(seen["capabilities"] or "1", 16) == 0, f"CapEff {seen['capabilities']}"),
        Capability("private uids", root and host_uid >= 65536, alone),
        Capability("empty network", seen["interfaces"] == ["lo"] and seen["outside"] != "connected", seen_network),
        Capability("private processes", len(seen["processes"]) <= 4, f"{len(seen['processes'])} visible"),
        Capability("empty environment", seen["environment"] == 0, f"/proc/1/environ: {seen['environment']} bytes"),
        Capability("closed descriptors", set(seen["descriptors"]) <= set("0123"), f"open: {seen['descriptors']}"),
        Capability("base is an allowlist", hidden, "generated /etc, no home of the host"),
        Capability("core dumps off", seen["core"] == 0, f"RLIMIT_CORE {seen['core']}"),
        Capability("memory limit", True, group or "RLIMIT_DATA per process, and a watcher over the sum"),
        Capability("process limit", True, group or "RLIMIT_NPROC in the user namespace"),
        Capability("cpu limit", grouped, group or "affinity to whole CPUs only"),
        Capability("disk limit", True, image),
    )
    missing = list(_NEVER)
    if not root:
        missing.append("kernel bugs against other processes of the same user: run Tickover as a user of its own")
    if not facts["images"]:
        missing.append("what is written past the disk limit within a quarter of a second")
    optional = {"cpu limit"} | (set() if root else {"private uids"})
    usable = all(c.in_force for c in capabilities if c.name not in optional)
    return BackendReport("bwrap", "sandbox", usable, capabilities, tuple(missing))
