"""What the gateway costs: latency, CPU, lag and memory of tunnel and inspect, beside other proxies in the same run.

    python bench/gateway.py [--quick] [--only NAME ...] [--peers FOLDER]

One origin, one client, all on loopback; ours turns the usual loop, uvloop's, and asyncio's where it says so.
Peers are measured if their programs are there (on PATH, or below --peers: bin/tinyproxy, sbin/squid, bin/envoy,
bin/srt, bin/mitmdump); one that is absent is a line that says so. CPU is that of the proxy's process tree. Goals, as
ratios to a peer of the same run: a tunnelled request at most 1.5x tinyproxy's or squid's latency; CPU of an inspected
request at most 4x Envoy's and 1x sandbox-runtime's; at most 3 ms CPU for a new connection with a pooled upstream; an
event's lag at most 1 ms at the median; 1 GB with at most 64 MB resident.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PARTS = Path(__file__).with_name("gateway_parts.py")
HOST = "localhost"
GOALS = {"latency": 1.5, "cpu": 4.0, "srt_cpu": 1.0, "connection_ms": 3.0, "lag_ms": 1.0, "rss_mb": 64.0}


@dataclass
class Subject:
    """One way to the origin. `proxy` is None for none; `trust` a file of roots for the client."""

    name: str
    proxy: int | None
    trust: str
    pid: int = 0


@dataclass
class Row:
    latency_ms: float = 0
    latency_p99: float = 0
    cpu_us: float = 0
    connect_ms: float = 0
    connect_cpu_ms: float = 0
    down_mbs: float = 0
    down_cpu_s: float = 0
    up_mbs: float = 0
    lag_ms: float = 0
    lag_max: float = 0
    rss_mb: float = 0
    failed: list[str] = field(default_factory=list)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def tree(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield from tree(int(child))


def cpu(pid: int) -> float:
    """Seconds of CPU that a process tree has used."""
    total = 0
    for each in tree(pid):
        with suppress(OSError):
            for task in os.listdir(f"/proc/{each}/task"):  # nanoseconds, where `stat` has ticks of 10 ms
                total += int(Path(f"/proc/{each}/task/{task}/schedstat").read_text().split()[0])
    return total / 1e9


def peak_mb(pid: int) -> float:
    found = 0
    for each in tree(pid):
        with suppress(OSError):
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
            found += sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return found / 1024


class Client:
    """A blocking client on one connection: what it costs is the same for all subjects."""

    def __init__(self, subject: Subject, origin: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", subject.proxy or origin), timeout=120)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if subject.proxy:
            plain.sendall(f"CONNECT {HOST}:{origin} HTTP/1.1\r\nhost: {HOST}:{origin}\r\n\r\n".encode())
            said = b""
            while b"\r\n\r\n" not in said:
                piece = plain.recv(4096)
                assert piece, said
                said += piece
            assert b" 200 " in said.split(b"\r\n")[0], said
        self.socket = context.wrap_socket(plain, server_hostname=HOST)
        self.origin = origin
        self.held = b""

    def ask(self, method: str, path: str, length: int = 0) -> None:
        head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}:{self.origin}\r\n"
        self.socket.sendall((head + (f"content-length: {length}\r\n" if length else "") + "\r\n").encode())

    def head(self) -> int:
        """Read an answer's head; return its length, -1 if it is in chunks."""
        while b"\r\n\r\n" not in self.held:
            piece = self.socket.recv(65536)
            assert piece, "closed"
            self.held += piece
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return int(line.partition(b":")[2])
        return -1

    def body(self, length: int) -> None:
        left = length - len(self.held)
        self.held = b""
        buffer = bytearray(1 << 17)
        while left > 0:
            count = self.socket.recv_into(buffer, min(left, len(buffer)))
            assert count, "the answer broke off"
            left -= count

    def get(self, path: str) -> None:
        self.ask("GET", path)
        self.body(self.head())

    def lags(self, events: int) -> list[float]:
        """Milliseconds from an event's sending to its arrival; both processes read the same clock."""
        self.ask("GET", f"/events?{events}")
        assert self.head() == -1
        found: list[float] = []
        while len(found) < events:
            self.held += self.socket.recv(65536)
            while b"\n\n" in self.held:
                event, _, self.held = self.held.partition(b"\n\n")
                found.append((time.monotonic_ns() - int(event.rpartition(b"data: ")[2])) / 1e6)
        return found

    def close(self) -> None:
        self.socket.close()


def measure(subject: Subject, origin: int, *, quick: bool) -> Row:
    row, context = Row(), ssl.create_default_context(cafile=subject.trust)
    requests, connections = (300, 20) if quick else (1500, 60)
    size = (128 if quick else 1024) << 20

    def step(name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, AssertionError, ValueError) as error:
            row.failed.append(f"{name}: {str(error)[:60] or type(error).__name__}")

    def latency() -> None:
        with closing(Client(subject, origin, context)) as client:
            for _ in range(50):
                client.get("/small")
            before, times = cpu(subject.pid), []
            for _ in range(requests):
                began = time.perf_counter()
                client.get("/small")
                times.append(time.perf_counter() - began)
            row.cpu_us = (cpu(subject.pid) - before) / requests * 1e6
        row.latency_ms = statistics.median(times) * 1e3
        row.latency_p99 = statistics.quantiles(times, n=100)[98] * 1e3

    def connect() -> None:
        before, times = cpu(subject.pid), []
        for _ in range(connections):
            began = time.perf_counter()
            with closing(Client(subject, origin, context)) as client:
                client.get("/small")
            times.append(time.perf_counter() - began)
        row.connect_ms = statistics.median(times) * 1e3
        row.connect_cpu_ms = (cpu(subject.pid) - before) / connections * 1e3

    def events() -> None:
        with closing(Client(subject, origin, context)) as client:
            found = client.lags(20)
        row.lag_ms, row.lag_max = statistics.median(found), max(found)

    def down() -> None:
        before, began = cpu(subject.pid), time.perf_counter()
        with closing(Client(subject, origin, context)) as client:
            client.get(f"/large?{size}")
        row.down_mbs = size / 1e6 / (time.perf_counter() - began)
        row.down_cpu_s = (cpu(subject.pid) - before) / (size / (1 << 30))

    def up() -> None:
        began, block = time.perf_counter(), bytes(1 << 17)
        with closing(Client(subject, origin, context)) as client:
            client.ask("POST", "/up", size)
            for _ in range(size // len(block)):
                client.socket.sendall(block)
            client.body(client.head())
        row.up_mbs = size / 1e6 / (time.perf_counter() - began)

    for name, work in (("latency", latency), ("connect", connect), ("events", events), ("down", down), ("up", up)):
        step(name, work)
    row.rss_mb = peak_mb(subject.pid) if subject.pid else 0
    return row


# The subjects.


@contextmanager
def running(argv: list[str], port: int | None, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block; ready once it listens, or says its first line."""
    out = subprocess.PIPE if port is None else subprocess.DEVNULL
    with subprocess.Popen(argv, stdout=out, stderr=subprocess.DEVNULL, **more) as process:  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + 60
            while port is not None:
                with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise OSError(f"{argv[0]} did not begin to listen")
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def ours(name: str, folder: Path, origin: int) -> Iterator[Subject]:
    mode, _, loop = name.partition(" on ")
    argv = [sys.executable, str(PARTS), "gateway", mode, str(folder), str(origin), loop]
    with running(argv, None) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        yield Subject(f"ours {name}", port, str(folder / "both.pem"), process.pid)


@contextmanager
def tinyproxy(program: str, folder: Path, _: int) -> Iterator[Subject]:
    port, config = free_port(), folder / "tinyproxy.conf"
    config.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\nAllow 127.0.0.1\nLogLevel Error\n")
    with running([program, "-d", "-c", str(config)], port) as process:
        yield Subject("tinyproxy tunnel", port, str(folder / "origin.pem"), process.pid)


@contextmanager
def squid(program: str, folder: Path, _: int) -> Iterator[Subject]:
    port, config = free_port(), folder / "squid.conf"
    config.write_text(
        f"http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\naccess_log none\ncache_log /dev/null\n"
        f"pid_filename none\ncoredump_dir {folder}\nshutdown_lifetime 0 seconds\ncache_effective_user nobody\n"
    )
    with running([program, "-N", "-f", str(config)], port) as process:
        yield Subject("squid tunnel", port, str(folder / "origin.pem"), process.pid)


@contextmanager
def envoy(program: str, folder: Path, origin: int) -> Iterator[Subject]:
    """Envoy ends TLS with a certificate made beforehand: CONNECT leads to a second listener of its own."""
    port, inner, file = free_port(), free_port(), folder / "envoy.json"
    file.write_text(json.dumps(envoy_config(folder, port, inner, origin)))
    argv = [program, "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "off"]
    with running(argv, port) as process:
        yield Subject("envoy inspect", port, str(folder / "bench.pem"), process.pid)


def envoy_config(folder: Path, port: int, inner: int, origin: int) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions"

    def manager(prefix: str, cluster: str, **more: object) -> dict[str, Any]:
        match: dict[str, Any] = {"connect_matcher": {}} if more else {"prefix": "/"}
        route = {"cluster": cluster, "timeout": "0s", **more}
        return {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": prefix,
                "stream_idle_timeout": "0s",
                "upgrade_configs": [{"upgrade_type": "CONNECT"}],
                "route_config": {"virtual_hosts": [
                    {"name": "all", "domains": ["*"], "routes": [{"match": match, "route": route}]}
                ]},
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"},
                }],
            },
        }  # fmt: skip

    def listener(name: str, at: int, manager: dict[str, Any], **more: object) -> dict[str, Any]:
        address = {"socket_address": {"address": "127.0.0.1", "port_value": at}}
        return {"name": name, "address": address, "filter_chains": [{"filters": [manager], **more}]}

    def cluster(name: str, at: int, **more: object) -> dict[str, Any]:
        endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": at}}}
        load = {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]}
        return {"name": name, "type": "STATIC", "connect_timeout": "5s", "load_assignment": load, **more}

    chain = {"filename": str(folder / "leaf.pem")}
    server = {"common_tls_context": {"tls_certificates": [{"certificate_chain": chain, "private_key": chain}]}}
    roots = {"trusted_ca": {"filename": str(folder / "origin.pem")}}
    client = {"sni": HOST, "common_tls_context": {"validation_context": roots}}

    def tls(name: str, config: dict[str, Any]) -> dict[str, Any]:
        kind = f"{types}.transport_sockets.tls.v3.{name}"
        return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": kind, **config}}

    connect = {"upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}
    return {
        "static_resources": {
            "listeners": [
                listener("proxy", port, manager("proxy", "inner", **connect)),
                listener(
                    "inner", inner, manager("inner", "origin"), transport_socket=tls("DownstreamTlsContext", server)
                ),
            ],
            "clusters": [
                cluster("inner", inner),
                cluster("origin", origin, transport_socket=tls("UpstreamTlsContext", client)),
            ],
        }
    }


@contextmanager
def mitmdump(program: str, folder: Path, _: int) -> Iterator[Subject]:
    port, state = free_port(), folder / "mitm"
    state.mkdir()
    argv = [program, "-q", "--listen-host", "127.0.0.1", "-p", str(port), "--set", f"confdir={state}"]
    argv += ["--set", f"ssl_verify_upstream_trusted_ca={folder / 'origin.pem'}", "--set", "stream_large_bodies=1"]
    with running(argv, port) as process:
        yield Subject("mitmproxy inspect", port, str(state / "mitmproxy-ca-cert.pem"), process.pid)


SRT = """
import fs from 'fs'
const [home, roots, ca] = process.argv.slice(2)
const {createHttpProxyServer} = await import(home + '/dist/sandbox/http-proxy.js')
const {createMitmCA} = await import(home + '/dist/sandbox/mitm-ca.js')
const mitmCA = await createMitmCA({})
fs.copyFileSync(mitmCA.certPath, ca)
const server = createHttpProxyServer({filter: () => true, mitmCA, tlsTerminateUpstreamCA: fs.readFileSync(roots)})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
"""


@contextmanager
def srt(program: str, folder: Path, _: int) -> Iterator[Subject]:
    """The proxy of Anthropic's sandbox-runtime, with its TLS termination on."""
    home = next(each for each in Path(program).resolve().parents if (each / "package.json").exists())
    script, trust = folder / "srt.mjs", folder / "srt.pem"
    script.write_text(SRT)
    with running(["node", str(script), str(home), str(folder / "origin.pem"), str(trust)], None) as process:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise OSError("srt did not begin to listen")
        yield Subject("srt inspect", int(line), str(trust), process.pid)


PEERS = {"tinyproxy": tinyproxy, "squid": squid, "envoy": envoy, "srt": srt, "mitmdump": mitmdump}


def find(name: str, folder: str | None) -> str | None:
    places = [os.path.join(folder, each) for each in ("bin", "sbin", "usr/bin", "usr/sbin")] if folder else []
    return shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", "")]))


COLUMNS = (
    ("latency ms", "{0.latency_ms:.2f}/{0.latency_p99:.2f}"), ("CPU us/request", "{0.cpu_us:.0f}"),
    ("new conn ms", "{0.connect_ms:.1f}"), ("CPU ms/conn", "{0.connect_cpu_ms:.2f}"),
    ("down MB/s", "{0.down_mbs:.0f}"), ("CPU s/GB", "{0.down_cpu_s:.2f}"), ("up MB/s", "{0.up_mbs:.0f}"),
    ("lag ms", "{0.lag_ms:.2f}/{0.lag_max:.1f}"), ("peak MB", "{0.rss_mb:.0f}"),
)  # fmt: skip


def show(name: str, row: Row) -> None:
    print(f"{name:22}" + "".join(f"{text.format(row):>16}" for _, text in COLUMNS), flush=True)
    for each in row.failed:
        print(f"{'':22}  failed: {each}", flush=True)


def judge(rows: dict[str, Row]) -> None:
    def goal(says: str, value: float | None, most: float) -> None:
        verdict = (
            "not measured" if value is None else f"{value:.2f} (goal <= {most:g}) {'ok' if value <= most else 'MISSED'}"
        )
        print(f"  {says}: {verdict}")

    def ratio(one: str, other: str, what: str) -> float | None:
        below = getattr(rows[other], what) if other in rows else 0
        return getattr(rows[one], what) / below if one in rows and below else None

    print("\ngoals")
    for peer in ("tinyproxy tunnel", "squid tunnel"):
        goal(f"tunnel latency / {peer}", ratio("ours tunnel", peer, "latency_ms"), GOALS["latency"])
    goal("inspect CPU per request / envoy inspect", ratio("ours inspect", "envoy inspect", "cpu_us"), GOALS["cpu"])
    goal("inspect CPU per request / srt inspect", ratio("ours inspect", "srt inspect", "cpu_us"), GOALS["srt_cpu"])
    for name in ("ours tunnel", "ours inspect", "ours secret"):
        if name in rows:
            row = rows[name]
            goal(f"{name}: CPU ms per new connection", row.connect_cpu_ms or None, GOALS["connection_ms"])
            goal(f"{name}: lag of an event, ms", row.lag_ms or None, GOALS["lag_ms"])
            goal(f"{name}: peak resident MB after all of it", row.rss_mb or None, GOALS["rss_mb"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="128 MB instead of 1 GB, fewer requests")
    parser.add_argument("--only", nargs="*", help="names of subjects")
    parser.add_argument("--peers", help="a folder with the programs of peers")
    options = parser.parse_args()
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        with running([sys.executable, str(PARTS), "origin", str(folder)], None) as server:
            assert server.stdout
            origin = int(server.stdout.readline())
            subjects = ["direct", "tunnel", "inspect", "secret", "tunnel on asyncio", "inspect on asyncio"]
            print(f"{'':22}" + "".join(f"{name:>16}" for name, _ in COLUMNS))
            for name in subjects:
                if options.only and name not in options.only:
                    continue
                if name == "direct":
                    rows[name] = measure(Subject(name, None, str(folder / "origin.pem")), origin, quick=options.quick)
                    show(name, rows[name])
                    continue
                with ours(name, folder, origin) as subject:
                    rows[subject.name] = measure(subject, origin, quick=options.quick)
                    show(subject.name, rows[subject.name])
            for name, start in PEERS.items():
                if options.only and name not in options.only:
                    continue
                program = find(name, options.peers)
                if program is None:
                    print(f"{name}: not here, not measured")
                    continue
                try:
                    with start(program, folder, origin) as subject:
                        rows[subject.name] = measure(subject, origin, quick=options.quick)
                        show(subject.name, rows[subject.name])
                except OSError as error:
                    print(f"{name}: {error}")
    print(f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; Python {sys.version.split()[0]}")
    judge(rows)


if __name__ == "__main__":
    main()
