"""A sandbox with a way out has that one and no other: what was not listed leads nowhere, however it is spelled."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tickover.app import RunRequest, Tickover
from tickover.core.event import JournalEvent
from tickover.testing.localhost import configure, entry, serving, url
from tickover.testing.upstream import Upstream

PROBE = r"""
import json, os, socket, ssl, subprocess, sys
port, outside = int(sys.argv[1]), sys.argv[2]
found = {}
def note(name, call):
    try:
        found[name] = repr(call())
    except Exception as error:
        found[name] = "!" + type(error).__name__
def tcp(host, port, family=socket.AF_INET):
    def dial():
        with socket.socket(family) as s:
            s.settimeout(20); s.connect((host, port)); s.sendall(b"GET / HTTP/1.1\r\n\r\n"); return s.recv(200)
    return dial
def udp(host, port):
    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(2); s.connect((host, port)); s.send(b"x" * 30); return s.recv(100)
    return send
def proxied(target):
    def ask():
        with socket.create_connection(("127.0.0.1", 3128), 20) as s:
            s.sendall(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
            return s.recv(400).split(b"\r\n")[0]
    return ask
note("listed", proxied(f"localhost:{port}"))
for name, address in (("address", outside), ("metadata", "169.254.169.254"), ("public", "198.51.100.7")):
    note(f"tcp to {name}", tcp(address, 80))
    note(f"udp to {name}", udp(address, 443))
note("tcp6", tcp("::ffff:198.51.100.7", 80, socket.AF_INET6))
note("quic inside", udp("127.64.0.1", port))
note("another port", tcp("127.0.0.1", port - 1 if port > 2000 else port + 1))
for target in (f"127.0.0.1:{port}", f"2130706433:{port}", f"0x7f.1:{port}", f"[::1]:{port}", f"LOCALHOST.evil.test:{port}",
               f"evil-localhost:{port}", f"localhost:{port}@evil.test:{port}", f"169.254.169.254:80", "metadata.google.internal:80",
               f"localhost%00.evil.test:{port}", f"xn--loclhost-l1a:{port}", f"*:{port}", "tickover.internal:443", "localhost:1"):
    note(f"proxy to {target}", proxied(target))
note("names", lambda: socket.getaddrinfo("evil.test", 443))
note("sni", lambda: subprocess.run(["curl", "-sSk", "--noproxy", "*", "--connect-to", f"evil.test:{port}:localhost:{port}",
     f"https://evil.test:{port}/"], check=True, capture_output=True).stdout)
note("no tls", tcp("127.0.0.1", port))
environment = open("/proc/self/environ").read()
bundle = open(os.environ["SSL_CERT_FILE"]).read()
found["private key"] = str("PRIVATE" + " KEY" in bundle + environment)
found["descriptors"] = str(sorted(os.listdir("/proc/self/fd")))
found["gateway seen"] = str([p for p in os.listdir("/proc") if p.isdigit() and b"tickover." + b"gateway" in open(f"/proc/{p}/cmdline", "rb").read()])
print("::: " + json.dumps(found))
"""


@pytest.fixture
async def double() -> AsyncIterator[Upstream]:
    async with serving() as double:
        yield double


async def probed(home: Path, double: Upstream, address: str) -> tuple[dict[str, str], list[JournalEvent]]:
    folder = home.parent / "routines/probe"
    folder.mkdir(parents=True)
    front = f"agent: steps\nenvironment: {{network: ['{entry(double)}'], env: {{PROBE: {json.dumps(PROBE)}}}}}"
    script = f'python3 -c "$PROBE" {double.port} {address}; curl -sS {url(double)}/'
    (folder / "ROUTINE.md").write_text(f"---\nname: probe\n{front}\n---\n```bash id=probe\n{script}\n```\n")
    events: list[JournalEvent] = []
    async with await Tickover.open(home) as tickover:
        configure(home, [double])
        await tickover.run(RunRequest(folder=str(folder)), events.append)
    said = "".join(event.data["text"] or "" for event in events if event.type == "agent_output")
    line = next(line for line in said.splitlines() if line.startswith("::: "))
    found: dict[str, Any] = json.loads(line.removeprefix("::: "))
    return found, events


async def test_there_is_one_way_out_and_no_other(tmp_path: Path, double: Upstream) -> None:
    found, events = await probed(tmp_path / "home", double, "192.0.2.1")
    assert "200" in found.pop("listed")
    assert found.pop("private key") == "False"
    assert found.pop("gateway seen") == "[]"
    assert found.pop("descriptors") in {"['0', '1', '2', '3']", "['0', '1', '2', '3', '4']"}
    assert " 400 " in found["no tls"] or found["no tls"].startswith("!")
    refused = {
        name: what for name, what in found.items() if not (what.startswith("!") or " 403 " in what or " 400 " in what)
    }
    assert refused == {}
    assert [seen.target for seen in double.seen] == ["/"], "only what curl asked at the end"
    codes = {event.data["code"] for event in events if event.type == "connection_denied"}
    assert codes >= {"bad_host", "not_listed", "no_name", "reserved", "port", "sni"}
    assert os.listdir(tmp_path / "home" / "sandboxes") == []
