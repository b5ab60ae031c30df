"""Listening sockets inside a sandbox's network namespace, opened before its command starts and handed out of it.

A forked child enters the namespace, binds, sends the descriptors away and ends: nothing of ours stays inside. Order of
the descriptors: names over UDP, names over TCP, the proxy, then each port at every address.

Nothing inside can take their place: none of them lets another bind beside it, and ports below 1024 need a capability
that no command inside has.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Final, NoReturn

from tickover.sandbox.launcher import kernel
from tickover.sandbox.launcher.plan import NAMES_PORT, PROXY_PORT

LOOPBACK: Final = "127.0.0.1"
_BACKLOG: Final = 128
_IP_FREEBIND: Final = 15  # linux/in.h: the loopback interface may not be up yet


def hand_out(network: int, ports: Sequence[int], channel: int) -> None:
    """Open the listeners in the network namespace `network` and send them over the socket `channel`.

    Raises OSError naming what could not be done.
    """
    said, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(network, ports, channel, say)
    os.close(say)
    try:
        message = os.read(said, 4096).decode(errors="replace")
    finally:
        os.close(said)
        status = os.waitpid(pid, 0)[1]
    if status or message:
        raise OSError(f"no listener inside the sandbox's network: {message or 'the helper ended'}")


def _become(network: int, ports: Sequence[int], channel: int, say: int) -> NoReturn:
    code = 1
    try:
        kernel.enter_network(network)
        udp = _bound(socket.SOCK_DGRAM, LOOPBACK, NAMES_PORT)
        streams = [(LOOPBACK, NAMES_PORT), (LOOPBACK, PROXY_PORT), *(("", port) for port in ports)]
        opened = [udp, *(_bound(socket.SOCK_STREAM, host, port) for host, port in streams)]
        for each in opened[1:]:
            each.listen(_BACKLOG)
        with socket.socket(fileno=os.dup(channel)) as out:
            socket.send_fds(out, [b"listening"], [each.fileno() for each in opened])
        code = 0
    except BaseException as error:  # noqa: BLE001 - a forked child has nobody above it
        os.write(say, str(error).encode()[:4096])
    finally:
        os._exit(code)


def _bound(kind: socket.SocketKind, host: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, kind)
    if host:
        opened.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
    try:
        opened.bind((host, port))
    except OSError as error:
        raise OSError(error.errno, f"{host or '*'}:{port}: {error.strerror}") from error
    return opened
