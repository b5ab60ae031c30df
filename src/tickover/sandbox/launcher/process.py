"""One sandbox of this launcher: start, freeze, kill, collect."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import resource
import select
import signal
from typing import Any, Final, NoReturn

from tickover.sandbox.launcher import cgroups, kernel, procfs
from tickover.sandbox.launcher import plan as plans
from tickover.sandbox.launcher.berth import Berth, Machine
from tickover.sandbox.launcher.identity import AGENT
from tickover.sandbox.launcher.listeners import hand_out

START_SECONDS: Final = 20.0
_FDS: Final = plans.Descriptors(arguments=3, status=4, block=5, seccomp=6)
_FIRST_FREE: Final = 7
_DIES_FIRST: Final = "1000"  # oom_score_adj: a machine without memory loses a sandbox, not its server
_NOT_STARTED: Final = 127  # what a shell answers for a command that is not there


class StartError(Exception):
    """bwrap did not get as far as the command; its own words are on stderr."""


class Process:
    """A sandbox in its berth. `start` returns when bwrap runs; `stands()` tells when the command can begin."""

    def __init__(self, machine: Machine, plan: plans.Plan, berth: Berth) -> None:
        self.machine = machine
        self.plan = plan
        self.berth = berth
        self.outer = 0  # pid of bwrap's monitor, our child
        self.outer_fd = -1
        self.init = 0  # pid 1 of the sandbox, as we see it
        self.init_fd = -1
        self.host_uid = -1
        self.gate = -1  # the pipe that holds the command back until bwrap reads from it
        self.killed = ""
        self.ended: dict[str, Any] | None = None
        self._status = -1

    # -- start ---------------------------------------------------------------------------------------------------

    def start(self, stdin: int, stdout: int, stderr: int, listeners: int | None = None) -> None:
        """Let bwrap build the sandbox. Raises StartError or OSError; then no process is left (the berth is).

        `listeners` is the socket over which the listeners that the plan asks for are handed out.
        """
        try:
            self._prepare()
            self._spawn(stdin, stdout, stderr)
            if listeners is not None and self.plan.listen is not None:
                self._listen(self.plan.listen, listeners)
            self._limit_without_group()
            os.write(self.gate, b"x")
        except BaseException:
            self.kill("broken")
            self.collect()
            raise

    def _prepare(self) -> None:
        plan, berth = self.plan, self.berth
        for way in plan.ways():
            if os.path.islink(f"{self.machine.data}/{way}"):
                raise plans.PlanError(f"something is to be shown behind a symlink: {way}")
        if berth.group is not None:
            berth.group.limit(
                memory=plan.memory if plan.keeps("memory_limit") else None,
                pids=plan.pids if plan.keeps("process_limit") else None,
                cpus=plan.cpus,
            )
        for name in plan.uppers:
            for path in (f"{berth.top}/{name}", self.upper(name), f"{berth.top}/{name}/work"):
                os.mkdir(path, 0o755)
                self.machine.own(path)
        for target, data in plan.files.items():
            path = f"{berth.folder}/files{target}"
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
            os.chmod(path, 0o755 if data.startswith(b"#!") else 0o644)

    def _spawn(self, stdin: int, stdout: int, stderr: int) -> None:
        with contextlib.ExitStack() as stack:
            options = plans.bwrap_options(self.plan, self._show, self._upper, self._file, _FDS)
            arguments = _memory_file(stack, "\0".join([*options, ""]).encode(errors="surrogateescape"))
            seccomp = _memory_file(stack, self.machine.seccomp)
            self._status, status = os.pipe()
            stack.callback(os.close, status)
            block, self.gate = os.pipe()
            stack.callback(os.close, block)
            fcntl.fcntl(self.gate, fcntl.F_SETPIPE_SZ, 4096)  # one slot: full with one byte, until that is read
            self.outer = os.fork()
            if self.outer == 0:
                self._become([stdin, stdout, stderr, arguments, status, block, seccomp])
        self.outer_fd = os.pidfd_open(self.outer)
        self.init = self._read_init()
        self.init_fd = os.pidfd_open(self.init)
        self.host_uid = os.stat(f"/proc/{self.init}").st_uid

    def _listen(self, ports: tuple[int, ...], channel: int) -> None:
        network = os.open(f"/proc/{self.init}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            hand_out(network, ports, channel)
        finally:
            os.close(network)

    def stands(self) -> bool:
        """Whether bwrap has built everything and let the command go. `gate` becomes writable at that moment."""
        if self.gate >= 0 and kernel.ready(self.gate, select.POLLOUT, 0) & select.POLLOUT:
            os.close(self.gate)
            self.gate = -1
        return self.gate < 0

    def upper(self, name: str) -> str:
        """Return the folder of a writable overlay, as it lies on the disk."""
        return f"{self.berth.top}/{name}/up"

    def _show(self, source: str, writable: bool) -> str:
        return self.berth.show(source, writable=writable)

    def _upper(self, name: str) -> tuple[str, str]:
        place = self.berth.show(f"{self._relative}/{self.berth.token}/{name}", writable=True)
        return f"{place}/up", f"{place}/work"

    def _file(self, path: str) -> str:
        return self.berth.show(f"{self._relative}/files/{path}", writable=False)

    @property
    def _relative(self) -> str:
        return f"sandboxes/{self.plan.name}"

    def _become(self, inherit: list[int]) -> NoReturn:
        """Turn the forked child into bwrap."""
        plan, berth = self.plan, self.berth
        try:
            # Out of the way first, so that no dup2 overwrites a descriptor that is still wanted.
            for number, high in enumerate([fcntl.fcntl(descriptor, fcntl.F_DUPFD, 20) for descriptor in inherit]):
                os.dup2(high, number, inheritable=True)
            os.setsid()
            if berth.group is not None:
                berth.group.join()
            if plan.keeps("core_dumps_off"):
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            files = min(plan.open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            if plan.disk is not None and plan.keeps("disk_limit"):
                resource.setrlimit(resource.RLIMIT_FSIZE, (plan.disk, plan.disk))
            with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
                score.write(_DIES_FIRST)
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.umask(0o022)
            os.chdir("/")
            if berth.slot is not None and plan.keeps("private_uids"):
                kernel.enter_user_namespace(berth.slot.namespace)
                os.setgroups([])
                os.setresgid(AGENT, AGENT, AGENT)
                os.setresuid(AGENT, AGENT, AGENT)
            if plan.keeps("closed_descriptors"):
                os.closerange(_FIRST_FREE, 1 << 30)
            command = [self.machine.bwrap, "--args", str(_FDS.arguments), "--", *plan.argv]
            # pid 1 of the sandbox is bwrap, and /proc/1/environ can be read inside: start it with nothing.
            env = {} if plan.keeps("empty_environment") else {"TICKOVER_CANARY": "a secret of the launcher"}
            os.execve(command[0], command, env)  # noqa: S606
        except BaseException as error:  # noqa: BLE001 - a forked child has nobody above it
            os.write(2, f"launcher: {error!r}\n".encode())
        finally:
            os._exit(_NOT_STARTED)

    def _read_init(self) -> int:
        text = b""
        while b"}" not in text:
            piece = os.read(self._status, 4096) if kernel.ready(self._status, select.POLLIN, START_SECONDS) else b""
            if not piece:
                raise StartError("bwrap ended before the sandbox stood")
            text += piece
        return int(json.loads(text)["child-pid"])

    def _limit_without_group(self) -> None:
        """Set what control groups would do, as far as an ordinary user can, before the command starts."""
        plan = self.plan
        if self.berth.group is not None:
            return
        if plan.pids is not None and plan.keeps("process_limit"):
            resource.prlimit(self.init, resource.RLIMIT_NPROC, (plan.pids, plan.pids))
        if plan.memory is not None and plan.keeps("memory_limit"):
            resource.prlimit(self.init, resource.RLIMIT_DATA, (plan.memory, plan.memory))
        if plan.cpus is not None:
            allowed = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(self.init, allowed[: max(1, math.ceil(plan.cpus))])

    def to_watch(self) -> dict[str, int | None]:
        """Return the limits in bytes that nothing enforces but looking."""
        plan = self.plan
        memory = plan.memory if plan.keeps("memory_limit") and self.berth.group is None else None
        watched = plan.keeps("disk_limit") and self.berth.size is None and plan.uppers
        return {"memory": memory, "disk": plan.disk if watched else None}

    # -- while it runs -------------------------------------------------------------------------------------------

    def kill(self, why: str) -> None:
        """End every process inside: killing pid 1 of a pid namespace kills the namespace."""
        if self.ended is not None:
            return
        self.killed = self.killed or why
        for descriptor in (self.init_fd, self.outer_fd):
            if descriptor >= 0:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if self._freezer is not None:  # what is frozen dies when it thaws
            self._freezer.freeze(False)

    def freeze(self, frozen: bool) -> None:
        """Stop or continue every process inside."""
        if self.ended is not None:
            return
        if self._freezer is not None:
            self._freezer.freeze(frozen)
            return
        namespace = procfs.namespace_of(self.init)
        number, done = (signal.SIGSTOP, "Tt") if frozen else (signal.SIGCONT, "RSDIt")
        procfs.signal_all(lambda pid: procfs.namespace_of(pid) == namespace, number, done=done)

    @property
    def _freezer(self) -> cgroups.Group | None:
        group = self.berth.group
        return group if group is not None and "freezer" in group.folders else None

    # -- its end -------------------------------------------------------------------------------------------------

    def collect(self) -> dict[str, Any]:
        """Make sure that every process is gone (the monitor ended, or was killed) and say how it ended."""
        status = os.waitpid(self.outer, 0)[1] if self.outer else 0
        if self.init_fd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.init_fd, signal.SIGKILL)
            kernel.ready(self.init_fd, select.POLLIN, START_SECONDS)  # the namespace is gone when its pid 1 is
            with contextlib.suppress(ChildProcessError):  # ours only if its parent, the monitor, was killed
                os.waitid(os.P_PIDFD, self.init_fd, os.WEXITED)
        said = self._rest_of_status()
        for name in ("outer_fd", "init_fd", "gate", "_status"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        message = ""
        if not self.killed and "exit-code" not in said and code == 1:
            code, message = _NOT_STARTED, f"{self.plan.argv[0]} could not be started; why stands on stderr"
        group = self.berth.group
        cpu, peak = group.usage() if group is not None else (None, None)
        self.ended = {
            "code": code,
            "reason": self._reason(code),
            "message": message,
            "cpu_seconds": cpu,
            "peak_memory": peak,
        }
        return self.ended

    def _reason(self, code: int) -> str:
        group = self.berth.group
        if self.killed:
            return self.killed
        if code != 0 and group is not None and group.oom_kills():
            return "memory"
        if code == 128 + signal.SIGXFSZ or (code != 0 and self.berth.is_full()):
            return "disk"
        return "signalled" if 128 < code < 128 + signal.NSIG else "exited"

    def _rest_of_status(self) -> str:
        text = b""
        while self._status >= 0 and kernel.ready(self._status, select.POLLIN, 0) & select.POLLIN:
            piece = os.read(self._status, 4096)
            if not piece:
                break
            text += piece
        return text.decode(errors="replace")


def _memory_file(stack: contextlib.ExitStack, data: bytes) -> int:
    descriptor = os.memfd_create("tickover", os.MFD_CLOEXEC)
    stack.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
