"""The part of the sandbox suite about `SandboxSpec.listen`: the only way out, and nobody else's."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from tickover.sandbox.base import Backend, Listen, SandboxBroken, SandboxRefused, SandboxSpec
from tickover.testing.sandbox import PYTHON, finish, new_name, run, shell

_DIALS = """
import socket, sys
for word in sys.argv[1:]:
    host, port = word.split(":")
    try:
        with socket.create_connection((host, int(port)), 20) as dialled:
            print(dialled.recv(100).decode(), end="", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""
_ASKS = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
    asking.settimeout(20)
    asking.sendto(b"who?", ("127.0.0.1", 53))
    print(asking.recvfrom(100))
    for address in (("198.51.100.1", 53), ("127.0.0.1", 443)):
        try:
            asking.connect(address)
            asking.send(b"x")
            asking.recv(100)
        except OSError as error:
            print(type(error).__name__)
"""
_TAKES = """
import socket
for host, port in (("0.0.0.0", 443), ("127.64.0.9", 443), ("127.0.0.1", 8443), ("127.64.0.9", 8443), ("0.0.0.0", 3128)):
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        with socket.socket() as taking:
            taking.setsockopt(socket.SOL_SOCKET, option, 1)
            try:
                taking.bind((host, port))
                taking.listen()
                print("took", host, port)
            except OSError as error:
                print(type(error).__name__)
"""


class ListenerSuite:
    """What every backend does with listeners. `backend` and `data` are fixtures of the suite."""

    async def test_without_listeners_nothing_answers(self, backend: Backend) -> None:
        ran = await run(backend, [*PYTHON, _DIALS, "127.0.0.1:53", "127.0.0.1:3128", "127.64.0.1:443"])
        assert ran.said.split() == ["ConnectionRefusedError"] * 3
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=shell("true")))
        with pytest.raises(SandboxBroken):
            sandbox.listening()
        await sandbox.destroy()

    async def test_listeners_are_there_before_the_command(self, backend: Backend) -> None:
        words = [
            "127.0.0.1:53",
            "127.0.0.1:3128",
            "127.64.1.2:80",
            "127.99.0.1:8443",
            "127.0.0.1:443",
            "198.51.100.1:80",
        ]
        spec = SandboxSpec(name=new_name(), argv=[*PYTHON, _DIALS, *words], listen=Listen((80, 8443)))
        sandbox = await backend.start(spec)
        listening = sandbox.listening()
        assert [each.getsockname()[1] for each in listening.every()] == [53, 53, 3128, 80, 8443]
        dialled = [await _accept(each) for each in listening.every()[1:]]
        ran = await finish(sandbox)
        assert dialled == [("127.0.0.1", 53), ("127.0.0.1", 3128), ("127.64.1.2", 80), ("127.99.0.1", 8443)]
        assert ran.said.split() == [*(f"{host}:{port}" for host, port in dialled), "ConnectionRefusedError", "OSError"]
        with pytest.raises(SandboxBroken):
            sandbox.listening()
        await sandbox.destroy()
        listening.close()

    async def test_names_are_asked_over_udp_and_nothing_else_is(self, backend: Backend) -> None:
        sandbox = await backend.start(SandboxSpec(name=new_name(), argv=[*PYTHON, _ASKS], listen=Listen((443,))))
        listening = sandbox.listening()
        listening.udp_names.settimeout(20)
        asked, asker = await asyncio.to_thread(listening.udp_names.recvfrom, 100)
        listening.udp_names.sendto(asked[::-1], asker)
        ran = await finish(sandbox)
        assert ran.said.split("\n")[:3] == ["(b'?ohw', ('127.0.0.1', 53))", "OSError", "ConnectionRefusedError"]
        await sandbox.destroy()
        listening.close()

    async def test_nobody_inside_takes_the_place_of_a_listener(self, backend: Backend) -> None:
        spec = SandboxSpec(name=new_name(), argv=[*PYTHON, _TAKES], listen=Listen((443, 8443)), uid=0)
        sandbox = await backend.start(spec)
        listening = sandbox.listening()
        ran = await finish(sandbox)
        assert "took" not in ran.said
        assert len(ran.said.split()) == 10, ran.stderr
        await sandbox.destroy()
        listening.close()

    async def test_each_sandbox_has_listeners_of_its_own(self, backend: Backend) -> None:
        argv = [*PYTHON, _DIALS, "127.64.0.1:443"]
        sandboxes = [
            await backend.start(SandboxSpec(name=new_name(), argv=argv, listen=Listen((443,)))) for _ in range(3)
        ]
        listening = [sandbox.listening() for sandbox in sandboxes]
        for number, each in enumerate(listening):
            await _accept(each.dialled[0], str(number))
        assert [(await finish(sandbox)).said for sandbox in sandboxes] == ["0\n", "1\n", "2\n"]
        for sandbox, each in zip(sandboxes, listening, strict=True):
            await sandbox.destroy()
            each.close()

    @pytest.mark.parametrize("ports", [(0,), (65536,), (443, 443), (53,), (3128,), tuple(range(1000, 1100))])
    async def test_ports_that_nobody_can_listen_at_are_refused(
        self, backend: Backend, data: Path, ports: tuple[int, ...]
    ) -> None:
        with pytest.raises((SandboxRefused, SandboxBroken)):
            await backend.start(SandboxSpec(name=new_name(), argv=["/bin/true"], listen=Listen(ports)))
        assert os.listdir(data / "sandboxes") == []


async def _accept(listener: socket.socket, says: str = "") -> tuple[str, int]:
    """Take one connection, answer with a line (the address it dialled), and return that address."""
    listener.settimeout(20)
    dialled, _ = await asyncio.to_thread(listener.accept)
    with dialled:
        host, port = dialled.getsockname()
        dialled.sendall(f"{says or f'{host}:{port}'}\n".encode())
    return host, port
