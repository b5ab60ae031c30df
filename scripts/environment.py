"""Make the virtual environment `.venv` in this checkout, also where Python lacks a part that makes one.

usage: environment.py [EXTRA]. Does nothing, fast, if pyproject.toml has not changed since the last time.
pip's output is shown only if it fails; its settings (index, certificates, proxy) are this user's own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time

from preflight import ProblemError, install_command, this_family

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PIP_OPTIONS = ("install", "--quiet", "--disable-pip-version-check", "--no-input")
RECENT = ("-c", "import sys; sys.exit(sys.version_info < (3, 11))")


class Environment:
    """The folder `.venv` of a checkout. Every way to make it leaves bin/python and bin/tickover."""

    def __init__(self, root: str, extra: str = "") -> None:
        self.root, self.extra = root, extra
        self.folder = os.path.join(root, ".venv")
        self.python = os.path.join(self.folder, "bin", "python")
        with open(os.path.join(root, "pyproject.toml"), "rb") as file:
            self.project = file.read()

    def ready(self) -> bool:
        """Tell whether what pyproject.toml asks for is there, and runs for this user."""
        try:
            with open(self.stamp(), encoding="ascii") as file:
                stamped = file.read() == self.digest()
        except OSError:
            return False
        return stamped and self.runs("-c", "import tickover")

    def runs(self, *args: str) -> bool:
        try:
            return subprocess.run([self.python, *args], capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def stamp(self) -> str:
        return os.path.join(self.folder, f".ready-{self.extra or 'base'}")

    def digest(self) -> str:
        """Name what this environment was made of; the folder's place too, because its programs contain it."""
        return hashlib.sha256(b"\0".join([self.project, os.fsencode(self.folder)])).hexdigest()

    def ensure(self) -> bool:
        """Make it, unless it is there; return whether there was something to do."""
        if self.ready():
            return False
        self.must_be_ours()
        lock = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.ready():
                return False
            self.fill()
            with open(self.stamp(), "w", encoding="ascii") as file:
                file.write(self.digest())
        finally:
            os.close(lock)
        return True

    def must_be_ours(self) -> None:
        place = self.folder if os.path.isdir(self.folder) else self.root
        if os.access(place, os.W_OK):
            return
        ours = os.path.join(os.path.expanduser("~"), "tickover")
        copy = f"tar -C {shlex.quote(self.root)} --exclude=./.venv -cf - . | tar -C {shlex.quote(ours)} -xf -"
        raise ProblemError(
            f"{place} belongs to another user and cannot be written.",
            "Tickover is installed into the checkout's .venv; a copy of the checkout can have its own.",
            f"mkdir -p {shlex.quote(ours)} && {copy} && {shlex.quote(ours + '/scripts/quickstart')}",
        )

    def fill(self) -> None:
        """Use what is there, else make one: by the module venv, else by hand, else by virtualenv."""
        inside, outside = [self.python, "-m", "pip"], [sys.executable, "-m", "pip", "--python", self.python]
        if self.runs(*RECENT):
            for pip in (inside, outside):
                if works([*pip, "--version"]):
                    return self.install(pip)
        if works([sys.executable, "-m", "venv", "--clear", self.folder]) and self.runs(*RECENT):
            return self.install(inside)
        if works([sys.executable, "-m", "pip", "--version"]) and self.by_hand() and works([*outside, "--version"]):
            return self.install(outside)
        if works([sys.executable, "-m", "virtualenv", "--clear", self.folder]) and self.runs(*RECENT):
            return self.install(inside)
        raise ProblemError(
            f"{sys.executable} has neither the module venv (with ensurepip) nor a pip >= 22.3 nor virtualenv.",
            "packages are installed into .venv of this checkout, never into the system.",
            install_command("python3-venv", this_family()),
        )

    def by_hand(self) -> bool:
        """Make what venv would, without pip: a link and a file that says where Python is at home (PEP 405)."""
        shutil.rmtree(self.folder, ignore_errors=True)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        for folder in ("bin", f"lib/python{version}/site-packages"):
            os.makedirs(os.path.join(self.folder, folder))
        base = os.path.realpath(sys.executable)
        os.symlink(base, self.python)
        with open(os.path.join(self.folder, "pyvenv.cfg"), "w", encoding="utf-8") as file:
            file.write(f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\nversion = {version}\n")
        return self.runs(*RECENT)

    def install(self, pip: list[str]) -> None:
        wanted = f"{self.root}[{self.extra}]" if self.extra else self.root
        self.run_pip([*pip, *PIP_OPTIONS, "--editable", wanted])

    def run_pip(self, command: list[str]) -> None:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines()
            raise ProblemError(
                "\n".join(["pip could not install what pyproject.toml asks for:", *said[-12:]]),
                "see pip's last lines above; index, proxy and certificates are those of your own pip settings.",
                shlex.join(command),
            )


def works(command: list[str]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def main() -> int:
    begun = time.monotonic()
    try:
        changed = Environment(ROOT, *sys.argv[1:2]).ensure()
    except ProblemError as problem:
        print(problem, file=sys.stderr)
        return 1
    print(f".venv: {'installed' if changed else 'ready'} in {time.monotonic() - begun:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
