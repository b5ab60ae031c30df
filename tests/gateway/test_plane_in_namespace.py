"""Clients in an empty network namespace that know nothing of a gateway: names and ports lead to it by themselves."""

from __future__ import annotations

import array
import asyncio
import os
import shutil
import socket
import sys
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tickover.core.network import Endpoint, NetworkPolicy, Opening, Route
from tickover.gateway import dns
from tickover.gateway.certificates import RunAuthority
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence, boot_time
from tickover.gateway.plane import Listeners, Passage, Plane, names_of
from tickover.testing.absent import absent

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are made by root here"),
]

HOST = "api.example.com"
INSIDE = r"""
import array, fcntl, os, socket, struct, subprocess, sys
channel = socket.socket(fileno=int(sys.argv[1]))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:  # ip link set lo up
    fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", 1))
subprocess.run(["mount", "--bind", sys.argv[2], "/etc/resolv.conf"], check=True)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 53))
listeners = [udp, socket.create_server(("127.0.0.1", 53)), socket.create_server(("127.0.0.1", 3128)),
             socket.create_server(("0.0.0.0", int(sys.argv[3])))]
socket.send_fds(channel, [b"x"], [each.fileno() for each in listeners])
for each in listeners:
    each.close()
assert channel.recv(1) == b"g"
os.execvp(sys.argv[4], sys.argv[4:])
"""
CLIENTS = {
    "curl": ["curl", "-q", "-sS", "--cacert", "CA", "URL"],
    "curl by the proxy": ["curl", "-q", "-sS", "--cacert", "CA", "-x", "http://127.0.0.1:3128", "URL"],
    "urllib": [
        sys.executable, "-c",
        ("import ssl, sys, urllib.request as r; "
        "print(r.urlopen(sys.argv[2], context=ssl.create_default_context(cafile=sys.argv[1])).read().decode())"),
        "CA", "URL",
    ],
    "node fetch": ["node", "-e", "fetch(process.argv[1]).then(r => r.text()).then(console.log)", "URL"],
    "wget": ["wget", "-q", "-O", "-", "--ca-certificate", "CA", "URL"],
    "git": ["git", "-c", "http.sslCAInfo=CA", "ls-remote", "URL"],
    "another name": ["curl", "-q", "-sS", "--cacert", "CA", "https://evil.test:PORT/"],
    "an address": ["curl", "-q", "-sSk", "--connect-timeout", "5", "https://127.0.0.9:PORT/"],
    "quic": [sys.executable, "-c", "import socket; s=socket.socket(2, 2); s.connect(('198.51.100.1', 443)); s.send(b'x')"],
}  # fmt: skip
REFUSED = {"another name": "no_name", "an address": "bad_host", "quic": ""}


async def serve_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    body = b"" if b"info/refs" in head else b"ok"
    kind = b"application/x-git-upload-pack-advertisement"
    if b"info/refs" in head:
        first = b"a" * 40 + b" HEAD\0agent=double\n"
        body = b"001e# service=git-upload-pack\n0000" + b"%04x" % (len(first) + 4) + first + b"0000"
    writer.write(
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: " + kind + b"\r\ncontent-length: %d\r\n\r\n" % len(body)
    )
    writer.write(body)
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_needs_no_setting(client: str, tmp_path: Path) -> None:
    if shutil.which(CLIENTS[client][0]) is None:
        absent(f"{CLIENTS[client][0]} is not on this machine")
    double = RunAuthority("double", now=datetime.now(UTC))
    (tmp_path / "ca.pem").write_bytes(double.pem)
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "inside.py").write_text(INSIDE)
    upstream = await asyncio.start_server(serve_hello, "127.0.0.1", 0, ssl=double.context(HOST))
    port = upstream.sockets[0].getsockname()[1]
    words = {"CA": str(tmp_path / "ca.pem"), "URL": f"https://{HOST}:{port}/", "PORT": str(port)}
    argv = [
        words.get(word, word.replace("=CA", f"={words['CA']}").replace("PORT", str(port))) for word in CLIENTS[client]
    ]

    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        "unshare", "--net", "--mount", sys.executable, str(tmp_path / "inside.py"), str(theirs.fileno()),
        str(tmp_path / "resolv.conf"), str(port), *argv,
        pass_fds=[theirs.fileno()], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NODE_EXTRA_CA_CERTS": words["CA"]},
    )  # fmt: skip
    theirs.close()
    _, descriptors, _, _ = await asyncio.to_thread(socket.recv_fds, ours, 1, 4)
    udp, tcp, proxy, transparent = (socket.socket(fileno=each) for each in array.array("i", descriptors))

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    told: list[Passage] = []
    policy = NetworkPolicy((Opening(Endpoint.parse(HOST, (port,)), "test", private=True),))
    plane = Plane(
        judge=policy.judge, allowed=names_of(policy.names()), addresses=dns.FakeAddresses(IPv4Network("127.64.0.0/10")),
        fence=Fence(boot_time() + 60, 1 << 30), tell=told.append, dialler=Dialler(resolve=resolve),
    )  # fmt: skip
    await plane.open(Listeners(udp, tcp, proxy, (transparent,)))
    ours.send(b"g")
    out, err = await asyncio.wait_for(process.communicate(), 60)
    ours.close()
    await plane.close()
    upstream.close()
    if client in REFUSED:
        assert process.returncode != 0
        assert all(each.route is Route.DENY for each in told)
        assert {each.reason for each in told} == ({REFUSED[client]} if REFUSED[client] else set())
    else:
        assert process.returncode == 0, err
        assert (b"a" * 40 if client == "git" else b"ok") in out
        entries = {each.entry for each in told if each.route is Route.TUNNEL}
        assert ("proxy" if "proxy" in client else "transparent") in entries
