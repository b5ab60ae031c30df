"""One sandbox of this launcher, from its folders to its removal.

Everything that outlives a kill -9 of the launcher (control groups, the folder itself) is written to `host.json`
before it is made, and the folder is locked while we live: `sweep` finds the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import resource
import select
import shutil
import signal
from dataclasses import dataclass, field
from typing import Any, Final

from tickover.sandbox.launcher import cgroups, disk, kernel
from tickover.sandbox.launcher import plan as plans
from tickover.sandbox.launcher.identity import CANONICAL, Slot, Slots

START_SECONDS: Final = 20.0
_SAFE_XATTRS: Final = ("opaque", "origin", "impure", "nlink", "uuid", "whiteout", "protattr", "upper")


class StartError(Exception):
    """bwrap did not get as far as the command; the text is what it said."""


@dataclass(slots=True)
class Machine:
    """What this launcher found here, once."""

    data: str
    bwrap: str
    staging: str
    skeleton: str
    as_root: bool
    hierarchy: cgroups.Hierarchy | None
    images: bool
    seccomp: bytes
    slots: Slots = field(default_factory=Slots)

    def own(self, path: str, uid: int) -> None:
        """Give a path of ours to the inside's uid, in the canonical range."""
        if self.as_root:
            os.lchown(path, CANONICAL + uid, CANONICAL + uid)

    def as_owner(self) -> list[str]:
        """Return the start of an argv that may read and remove what a sandbox locked away from its own uid."""
        if self.as_root:
            return []
        rights = ["--cap-add", "CAP_DAC_OVERRIDE", "--cap-add", "CAP_FOWNER"]
        return [self.bwrap, "--unshare-user", "--uid", "0", "--gid", "0", *rights, "--dev-bind", "/", "/", "--"]


class Process:
    """A started sandbox."""

    def __init__(self, machine: Machine, plan: plans.Plan) -> None:
        self.machine = machine
        self.plan = plan
        self.folder = f"{machine.data}/sandboxes/{plan.name}"
        self.outer = 0  # pid of bwrap's monitor, our child
        self.outer_fd = -1
        self.init_fd = -1  # pidfd of the sandbox's pid 1
        self.init = 0
        self.watcher = 0
        self.watch_fd = -1
        self.group: cgroups.Group | None = None
        self.slot: Slot | None = None
        self.killed = ""
        self.ended: dict[str, Any] | None = None
        self._lock = -1
        self._mounts: list[str] = []
        self._stage = f"{machine.staging}/{plan.name}"

    # -- start ---------------------------------------------------------------------------------------------------

    def start(self, stdin: int, stdout: int, stderr: int) -> None:
        """Make everything and start the command. On any failure nothing is left. Raises StartError or OSError."""
        try:
            self._make_folder()
            self._make_group()
            if self.machine.as_root:
                self.slot = self.machine.slots.take()
                os.mkdir(self._stage, 0o755)
            self._make_uppers()
            self._spawn(stdin, stdout, stderr)
        except BaseException:
            self.kill("broken")
            self._reap()
            self.remove()
            raise

    def _make_folder(self) -> None:
        os.makedirs(self.folder, mode=0o711)
        self._lock = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        groups = []
        if self.machine.hierarchy is not None:
            groups = sorted({f"{base}/tickover-{self.plan.name}" for base in self.machine.hierarchy.folders.values()})
        with open(f"{self.folder}/host.json", "w", encoding="ascii") as file:
            json.dump({"groups": groups}, file)

    def _make_group(self) -> None:
        if self.machine.hierarchy is None:
            return
        plan = self.plan
        memory = plan.memory if plan.keeps("memory_limit") else None
        pids = plan.pids if plan.keeps("process_limit") else None
        self.group = cgroups.Group.make(self.machine.hierarchy, plan.name, memory=memory, pids=pids, cpus=plan.cpus)

    @property
    def on_image(self) -> bool:
        """Whether the uppers lie on a file system image of the limit's size."""
        plan = self.plan
        return self.machine.images and plan.disk is not None and not plan.sealable and plan.keeps("disk_limit")

    def _make_uppers(self) -> None:
        top = f"{self.folder}/rw"
        os.mkdir(top, 0o711)
        if self.on_image and self.plan.disk is not None and self.plan.uppers:
            image = f"{self.folder}/disk.img"
            disk.copy_sparse(disk.template(f"{self.machine.data}/base", self.plan.disk), image)
            disk.mount_image(image, top)
            self._mounts.append(top)
            os.chmod(top, 0o711)  # noqa: S103 - entered by other uids, listed by none
        for name in self.plan.uppers:
            for path in (f"{top}/{name}", f"{top}/{name}/up", f"{top}/{name}/work"):
                os.mkdir(path, 0o755)
                self.machine.own(path, self.plan.uid)

    def _place(self, source: str, *, writable: bool = False) -> str:
        """Return the path under which bwrap sees one of our folders."""
        if not self.machine.as_root:
            return f"{self.machine.data}/{source}"
        assert self.slot is not None
        target = f"{self._stage}/{len(self._mounts)}"
        folder = os.open(self.machine.data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            tree = kernel.open_beneath(folder, source)
        finally:
            os.close(folder)
        try:
            if os.path.isdir(f"/proc/self/fd/{tree}"):
                os.mkdir(target, 0o755)
            else:
                os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC, 0o644))
            kernel.attach_copy(tree, target, idmap=self.slot.idmap(), writable=writable)
        finally:
            os.close(tree)
        self._mounts.append(target)
        return target

    def _upper(self, name: str) -> tuple[str, str]:
        if not self.machine.as_root:
            return f"{self.folder}/rw/{name}/up", f"{self.folder}/rw/{name}/work"
        place = self._place(f"sandboxes/{self.plan.name}/rw/{name}", writable=True)
        return f"{place}/up", f"{place}/work"

    def _spawn(self, stdin: int, stdout: int, stderr: int) -> None:
        plan, machine = self.plan, self.machine
        info_read, info_write = os.pipe()
        block_read, block_write = os.pipe()
        filters = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        os.write(filters, machine.seccomp)
        os.lseek(filters, 0, os.SEEK_SET)
        writable = {bind.source for bind in plan.binds if bind.writable}
        arguments = plans.bwrap_arguments(
            plan,
            lambda source: self._place(source, writable=source in writable),
            self._upper,
            plans.Descriptors(info=3, block=4, seccomp=5),
            as_root=machine.as_root,
        )
        private = machine.as_root and plan.keeps("private_uids")
        inherit = [stdin, stdout, stderr, info_write, block_read, filters]
        namespace = -1
        if private:
            assert self.slot is not None
            namespace = self.slot.namespace(plan.uid)
        self.outer = os.fork()
        if self.outer == 0:
            self._become(arguments, inherit, namespace)
        for descriptor in (info_write, block_read, filters):
            os.close(descriptor)
        self.outer_fd = os.pidfd_open(self.outer)
        try:
            self.init = self._read_init(info_read)
            self.init_fd = os.pidfd_open(self.init)
            self._limit_without_group()
            os.write(block_write, b"x")
        finally:
            os.close(info_read)
            os.close(block_write)

    def _become(self, arguments: list[str], inherit: list[int], namespace: int) -> None:
        """Turn the forked child into bwrap; never returns."""
        try:
            plan = self.plan
            if self.group is not None:
                self.group.join()
            os.setsid()
            # Out of the way first, so that no dup2 overwrites a descriptor that is still wanted.
            high = [fcntl.fcntl(number, fcntl.F_DUPFD, 20) for number in inherit]
            for number, descriptor in enumerate(high):
                os.dup2(descriptor, number, inheritable=True)
            if namespace >= 0:
                os.dup2(namespace, plans.USERNS_FD, inheritable=True)
            else:
                with contextlib.suppress(OSError):
                    os.close(plans.USERNS_FD)
            os.closerange(6, plans.USERNS_FD)
            os.closerange(plans.USERNS_FD + 1, 4096)
            if plan.keeps("core_dumps_off"):
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            files = plan.files if hard == resource.RLIM_INFINITY else min(plan.files, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            if plan.disk is not None and plan.keeps("disk_limit"):
                resource.setrlimit(resource.RLIMIT_FSIZE, (plan.disk, plan.disk))
            for number in range(1, signal.NSIG):
                if number not in {signal.SIGKILL, signal.SIGSTOP}:
                    with contextlib.suppress(OSError, ValueError):
                        signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            if namespace >= 0:
                assert self.slot is not None
                uid = self.slot.first + plan.uid
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            os.umask(0o022)
            os.chdir("/")
            # pid 1 of the sandbox is bwrap, and /proc/1/environ can be read inside: start it with nothing.
            env = {} if plan.keeps("empty_environment") else dict(os.environ)
            os.execve(self.machine.bwrap, ["bwrap", *arguments], env)  # noqa: S606
        except BaseException as error:  # noqa: BLE001 - a forked child has nobody above it
            os.write(2, f"launcher: {error!r}\n".encode())
        finally:
            os._exit(127)

    def _read_init(self, info: int) -> int:
        text = b""
        while not text.rstrip().endswith(b"}"):
            readable, _, _ = select.select([info], [], [], START_SECONDS)
            piece = os.read(info, 4096) if readable else b""
            if not piece:
                raise StartError("bwrap ended before the sandbox stood" if readable else "bwrap does not answer")
            text += piece
        return int(json.loads(text)["child-pid"])

    def _limit_without_group(self) -> None:
        """Set what control groups would do, as far as an ordinary user can, before the command starts."""
        plan = self.plan
        memory = plan.memory if plan.keeps("memory_limit") and self.group is None else None
        quota = plan.disk if plan.keeps("disk_limit") and not self.on_image and plan.uppers else None
        if self.group is None:
            if plan.pids is not None and plan.keeps("process_limit"):
                resource.prlimit(self.init, resource.RLIMIT_NPROC, (plan.pids, plan.pids))
            if memory is not None:
                resource.prlimit(self.init, resource.RLIMIT_DATA, (memory, memory))
            if plan.cpus is not None:
                allowed = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(self.init, allowed[: max(1, math.ceil(plan.cpus))])
        if memory is None and quota is None:
            return
        self.watch_fd, out = os.pipe()
        self.watcher = os.fork()
        if self.watcher == 0:
            try:
                os.setsid()
                os.close(self.watch_fd)
                disk.watch(self.init, f"{self.folder}/rw", self.machine.as_owner(), disk=quota, memory=memory, out=out)
            finally:
                os._exit(0)
        os.close(out)

    # -- while it runs -------------------------------------------------------------------------------------------

    def limit_passed(self) -> None:
        """Read the watcher's word and act on it."""
        word = os.read(self.watch_fd, 1)
        os.close(self.watch_fd)
        self.watch_fd = -1
        if word:
            self.kill({b"m": "memory", b"d": "disk"}.get(word, "broken"))

    def kill(self, why: str) -> None:
        """End every process inside: killing pid 1 of a pid namespace kills the namespace."""
        if self.ended is not None:
            return
        self.killed = self.killed or why
        if self.group is not None and self.group.folders:
            with contextlib.suppress(OSError):
                self.group.freeze(False)
        for descriptor in (self.init_fd, self.outer_fd):
            if descriptor >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)

    def freeze(self, frozen: bool) -> None:
        """Stop or continue every process inside."""
        if self.group is not None:
            self.group.freeze(frozen)
            return
        seen: set[int] = set()
        while fresh := set(disk.descendants(self.init)) - seen:  # until nobody new was forked meanwhile
            for pid in fresh:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)
            seen |= fresh

    def finished(self) -> dict[str, Any]:
        """Collect the end of the process tree (its monitor is gone) and return how it ended."""
        status = self._reap()
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        reason = "signalled" if 128 < code <= 128 + 64 else "exited"  # 128 is git's own word for an error
        cpu, peak = self.group.usage() if self.group is not None else (None, None)
        if self.killed:
            reason = self.killed
        elif code != 0 and self.group is not None and self.group.oom_kills():
            reason = "memory"
        elif code != 0 and self.on_image and self.plan.uppers and disk.is_full(f"{self.folder}/rw"):
            reason = "disk"
        self.ended = {"code": code, "reason": reason, "cpu_seconds": cpu, "peak_memory": peak}
        if self.group is not None:
            self.group.remove()
            self.group = None
        return self.ended

    def _reap(self) -> int:
        status = 0
        if self.watch_fd >= 0:
            os.close(self.watch_fd)
            self.watch_fd = -1
        if self.watcher:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.watcher, signal.SIGKILL)
            os.waitpid(self.watcher, 0)
            self.watcher = 0
        if self.outer:
            _, status = os.waitpid(self.outer, 0)
            self.outer = 0
        for name in ("outer_fd", "init_fd"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                if name == "init_fd":  # all of the namespace is gone when its pid 1 is
                    select.select([descriptor], [], [], START_SECONDS)
                os.close(descriptor)
                setattr(self, name, -1)
        return status

    # -- afterwards ----------------------------------------------------------------------------------------------

    def seal(self, name: str, destination: str) -> int:
        """Check an upper and move it to `destination` below the data folder; return its bytes."""
        source = f"{self.folder}/rw/{name}/up"
        target = f"{self.machine.data}/{destination}"
        total = check_tree(source)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            raise FileExistsError(17, "it is sealed already", target)
        os.rename(source, target)
        return total

    def remove(self) -> None:
        """Unmount and delete everything, and wait until it is done."""
        os.waitpid(self.begin_removal(), 0)
        self.end_removal()

    def begin_removal(self) -> int:
        """Unmount, and start deleting: a million files must not hold up other sandboxes. Return rm's pid."""
        for target in reversed(self._mounts):
            with contextlib.suppress(OSError):
                kernel.unmount(target)
        self._mounts.clear()
        if self.group is not None:
            self.group.remove()
            self.group = None
        if self.machine.as_root:
            shutil.rmtree(self._stage, ignore_errors=True)
        return start_removal(self.folder, self.machine.as_owner())

    def end_removal(self) -> None:
        """Give back the uid range and the name."""
        if self.slot is not None:
            self.machine.slots.give_back(self.slot)
            self.slot = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def check_tree(path: str) -> int:
    """Return the bytes of a tree that is to become a layer. Raises ValueError naming the first unsafe entry.

    Whiteouts (character device 0:0) are the overlay's own; other devices, set-id bits, and overlay
    attributes that redirect are refused.
    """
    total = 0

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, names, folder in os.fwalk(path, onerror=refuse, follow_symlinks=False):
        for name in (*folders, *names):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            shown = os.path.relpath(os.path.join(parent, name), path)
            kind = status.st_mode & 0o170000
            if kind == 0o060000 or (kind == 0o020000 and status.st_rdev != 0):
                raise ValueError(f"device: {shown!r}")
            if kind == 0o100000 and status.st_mode & 0o6000:
                raise ValueError(f"set-id bit: {shown!r}")
            if kind in {0o100000, 0o040000}:
                for attribute in os.listxattr(f"/proc/self/fd/{folder}/{name}", follow_symlinks=False):
                    head, _, tail = attribute.rpartition(".")
                    if head in {"user.overlay", "trusted.overlay"} and tail not in _SAFE_XATTRS:
                        raise ValueError(f"overlay attribute {attribute!r}: {shown!r}")
            total += status.st_blocks * 512
    return total


def start_removal(path: str, as_owner: list[str]) -> int:
    """Start deleting a hostile tree of any depth and any modes, by rm(1); return its pid."""
    command = [*as_owner, "rm", "-rf", "--one-file-system", "--", path]
    return os.posix_spawnp(command[0], command, {"PATH": "/usr/bin:/bin"})
