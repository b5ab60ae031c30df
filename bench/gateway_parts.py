"""The two processes that bench/gateway.py starts: an origin with TLS, and a gateway with one run on loopback."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers, Rule
from tickover.core.network import Endpoint, Governed, NetworkPolicy, Opening
from tickover.core.receipt import Begun, Ended, Identity, head_of, link
from tickover.core.receipt import origin as chain_origin
from tickover.core.target import Target
from tickover.gateway import dns
from tickover.gateway.certificates import RunAuthority, upstream_context
from tickover.gateway.dial import Dialler
from tickover.gateway.fence import Fence, boot_time
from tickover.gateway.inspect import Inspector
from tickover.gateway.loop import run
from tickover.gateway.plane import Listeners, Plane, names_of

HOST = "localhost"
SMALL = bytes(1024)
BLOCK = bytes(1 << 17)


async def serve(folder: Path) -> None:
    authority = RunAuthority("origin", now=datetime.now(UTC))
    (folder / "origin.pem").write_bytes(authority.pem)
    other = RunAuthority("bench", now=datetime.now(UTC))
    (folder / "bench.pem").write_bytes(other.pem)
    key = other._leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "leaf.pem").write_bytes(other.leaf(HOST) + key)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                path, _, query = head.split(" ")[1].partition("?")
                left = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
                while left:
                    left -= len(await reader.read(min(left, 1 << 17)))
                if path == "/events":
                    await events(writer, int(query))
                    continue
                size = int(query) if path == "/large" else len(SMALL)
                head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size
                if size == len(SMALL):
                    writer.write(head + SMALL)  # at once: two writes would measure Nagle's algorithm in some peers
                    continue
                writer.write(head)
                for _ in range(size // len(BLOCK)):
                    writer.write(BLOCK)
                    await writer.drain()
                writer.write(BLOCK[: size % len(BLOCK)])
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def events(writer: asyncio.StreamWriter, count: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(count):
            await asyncio.sleep(0.02)
            event = b"data: %d\n\n" % time.monotonic_ns()
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=authority.context(HOST), limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class FileLedger:
    """Links records and appends them to a file with fdatasync before a write leaves, as a real ledger must."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._head = chain_origin("bench", b"key")

    async def append(self, record: Begun | Ended) -> None:
        import os

        made = link(record, self._head, b"key")
        self._head = head_of(made)
        self._file.write(made.model_dump_json().encode() + b"\n")
        if isinstance(record, Begun) and record.writes:
            os.fdatasync(self._file.fileno())


class Values:
    def value(self, name: str) -> bytes:  # noqa: ARG002 - there is one
        return b"ghp_0123456789abcdefghijABCDEFGHIJKLMNOP"

    async def fresh(self, name: str, *, rejected: bytes | None = None) -> None:
        """Do nothing: it is stored, and always can be used."""


async def loopback(host: str, port: int) -> Sequence[str]:  # noqa: ARG001 - every name is this machine
    return ["127.0.0.1"]


async def gateway(mode: str, folder: Path, port: int) -> None:
    endpoint = Endpoint.parse(HOST, (port,))
    credential = "key" if mode == "secret" else None
    governed = () if mode == "tunnel" else (Governed(endpoint, "the benchmark", credential),)
    policy = NetworkPolicy((Opening(endpoint, "the benchmark", inspect=mode != "tunnel", private=True),), governed)
    powers = Powers((Rule("may[0]", Target.parse(f"POST https://{HOST}:{port}/up")),))
    egress = replace(Egress(policy, powers), forms={"key": CredentialForm()})
    fence = Fence(boot_time() + 3600, 1 << 50)
    authority = RunAuthority("bench", now=datetime.now(UTC))
    (folder / "both.pem").write_bytes(authority.pem + (folder / "origin.pem").read_bytes())
    dialler = Dialler(resolve=loopback)
    inspector = Inspector(
        run="bench", attempt=1, identity=Identity.AGENT, egress=egress, authority=authority, values=Values(),
        ledger=FileLedger(folder / f"receipts-{mode}"), fence=fence, dialler=dialler,
        upstream=upstream_context((folder / "origin.pem").read_bytes()),
        tell=lambda denial: print(denial, file=sys.stderr),
    )  # fmt: skip
    proxy = socket.create_server(("127.0.0.1", 0))
    plane = Plane(
        judge=policy.judge, allowed=names_of(policy.names()), addresses=dns.FakeAddresses(IPv4Network("127.64.0.0/10")),
        fence=fence, tell=lambda _: None, dialler=dialler, inspect=inspector,
    )  # fmt: skip
    await plane.open(Listeners(proxy=proxy))
    print(proxy.getsockname()[1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    role, *rest = sys.argv[1:]
    if role == "origin":
        run(serve(Path(rest[0])))
    else:
        mode, folder, port, loop = rest
        run(gateway(mode, Path(folder), int(port)), loop)


if __name__ == "__main__":
    main()
