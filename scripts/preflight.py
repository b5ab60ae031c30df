"""Ask, before anything is installed, whether this machine can do it. What is missing comes with one command.

Nothing here needs more than the standard library. A sandbox is judged by starting one, not by reading settings;
the settings are only read afterwards, to say why it did not start.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

DISK_NEEDED = 2 * 2**30  # bytes: the environment, a mirror and a few runs
GIT_NEEDED = (2, 30)
INSIDE_PYTHON = "/usr/bin/python3"
INSIDE_NEEDED = (3, 10)

# The calls a sandbox begins with: namespaces, its user's map, mounts of its own, process 1 with its own /proc.
PROBE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def must(result, what):
    if result:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")
uid, gid = os.geteuid(), os.getegid()
must(libc.unshare(0x10000000 | 0x20000 | 0x20000000 | 0x40000000), "unshare")
try:
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
except OSError as error:
    sys.exit(f"{name}: {error.strerror}")
must(libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None), "private mounts")
must(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None), "tmpfs")
child = os.fork()
if not child:
    must(libc.mount(b"none", b"/proc", b"proc", 0, None), "proc")
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

INSTALL = {
    "debian": "apt-get install -y {}",
    "fedora": "dnf install -y {}",
    "arch": "pacman -S --noconfirm {}",
    "alpine": "apk add {}",
    "suse": "zypper --non-interactive install {}",
}
RELATED = {"ubuntu": "debian", "rhel": "fedora", "centos": "fedora", "opensuse": "suse"}
PACKAGES = {
    "git": {},
    "npm": {},
    "python3": {"arch": "python"},
    "python3-venv": {
        "fedora": "python3-pip",
        "arch": "python-pip",
        "alpine": "py3-pip",
        "suse": "python3-pip",
    },
}


@dataclass
class ProblemError(Exception):
    """What is missing, why it is needed, and the one command that brings it."""

    what: str
    why: str
    command: str

    def __str__(self) -> str:
        return f"{self.what}\n  why: {self.why}\n  run: {self.command}"


def family(os_release: str) -> str:
    """Name the kind of distribution by the text of its os-release; empty if it is none we know."""
    fields = dict(re.findall(r"^(ID|ID_LIKE)=\"?([^\"\n]*)\"?\s*$", os_release, re.MULTILINE))
    for name in f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".split():
        known = RELATED.get(name, name)
        if known in INSTALL:
            return known
    return ""


def this_family() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            return family(file.read())
    except OSError:
        return ""


def as_administrator(command: str) -> str:
    """Prefix a command as this user has to."""
    if os.geteuid() == 0:
        return command
    return f"sudo {command}" if shutil.which("sudo") else f"su -c {shlex.quote(command)}"


def install_command(package: str, of_family: str) -> str:
    """Return the command that installs a package, named as Debian names it."""
    if of_family not in INSTALL:
        return f"install the package {package} with your system's package manager"
    name = PACKAGES[package].get(of_family, package)
    return as_administrator(INSTALL[of_family].format(name))


def check_git() -> str:
    """Return git's version."""
    command = install_command("git", this_family())
    try:
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ProblemError("git was not found.", "a run works on a fresh clone of a repository.", command) from error
    version = re.search(r"(\d+)\.(\d+)[.\d]*", said)
    if not version or (int(version[1]), int(version[2])) < GIT_NEEDED:
        needed = ".".join(map(str, GIT_NEEDED))
        raise ProblemError(f"{said.strip()} is older than {needed}.", "clones of a run need its options.", command)
    return version[0]


def check_inside_python() -> None:
    """Look at the interpreter that blocks and checks get: the system's, because nothing of ours is in a sandbox."""
    recent = [INSIDE_PYTHON, "-I", "-c", f"import sys; sys.exit(sys.version_info < {INSIDE_NEEDED})"]
    try:
        good = subprocess.run(recent, capture_output=True, check=False).returncode == 0
    except OSError:
        good = False
    if not good:
        what = f"{INSIDE_PYTHON} is missing or older than {'.'.join(map(str, INSIDE_NEEDED))}."
        why = "inside a sandbox there is the system's Python, whichever one runs Tickover outside."
        raise ProblemError(what, why, install_command("python3", this_family()))


def check_namespaces() -> None:
    """Start one, as a sandbox would."""
    done = subprocess.run([sys.executable, "-I", "-c", PROBE], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise namespaces_refused(said[-1], setting, any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv"))))


def setting(name: str) -> str:
    """Read a kernel setting; empty where the kernel has none of that name."""
    try:
        with open("/proc/sys/" + name.replace(".", "/"), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def namespaces_refused(said: str, setting: Callable[[str], str], contained: bool) -> ProblemError:
    """Say why a user namespace does not start. `setting` reads a kernel setting, `contained` = in a container."""
    why = "every run lives in a sandbox made of user namespaces; without them there is none, and we start nothing."
    for name, bad, good in (
        ("user.max_user_namespaces", "0", "15000"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ):
        if setting(name) == bad:
            command = as_administrator(f"sysctl -w {name}={good}")
            return ProblemError(f"User namespaces are switched off ({name} = {bad}; {said}).", why, command)
    if contained:
        command = "docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined ..."
        return ProblemError(f"This container does not allow user namespaces ({said}).", why, command)
    command = as_administrator("sysctl -w user.max_user_namespaces=15000")
    return ProblemError(f"A user namespace does not start ({said}).", why, command)


def check_disk(folder: str) -> int:
    """Return the free bytes where the environment goes."""
    free = shutil.disk_usage(folder).free
    if free < DISK_NEEDED:
        what = f"{free / 2**30:.1f} GiB are free in {folder}, {DISK_NEEDED / 2**30:.0f} are needed."
        raise ProblemError(
            what, "packages, the mirror of a repository and what runs write.", f"df -h {shlex.quote(folder)}"
        )
    return free
