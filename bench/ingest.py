"""Durable ingest: what it costs to verify, store and answer, against forty lines that do the same and no more.

    python bench/ingest.py [--seconds 5] [--rounds 5] [--connections 32] [--webhook PATH]

Goal: at least 0.8x of the baseline's events per second. Rounds are interleaved. Debian's `webhook` (adnanh) is a peer
that checks the signature and stores nothing; it is found on PATH or by --webhook, and left out with a line if it is
not there.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SECRET = b"bench"
BODY = json.dumps({"action": "opened", "repository": {"full_name": "acme/app"}, "filler": "x" * 10_000}).encode()
SIGNATURE = "sha256=" + hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def send(port: int, path: str, name: str, until: float, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    while time.perf_counter() < until:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n"
            f"X-GitHub-Event: pull_request\r\nX-GitHub-Delivery: {name}-{number}\r\n"
            f"X-Hub-Signature-256: {SIGNATURE}\r\n\r\n"
        )
        began = time.perf_counter()
        writer.write(head.encode() + BODY)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        await reader.readexactly(length)
        took.append(time.perf_counter() - began)
        number += 1
    writer.close()


async def load(port: int, path: str, connections: int, seconds: float) -> list[float]:
    took: list[float] = []
    until = time.perf_counter() + seconds
    prefix = os.urandom(4).hex()
    await asyncio.gather(*(send(port, path, f"{prefix}-{at}", until, took) for at in range(connections)))
    return took


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def debian_webhook(program: str, folder: Path) -> tuple[list[str], int]:
    header = {"source": "header", "name": "X-Hub-Signature-256"}
    rule = {"match": {"type": "payload-hmac-sha256", "secret": "bench", "parameter": header}}
    never = {"match": {"type": "value", "value": "never", "parameter": {"source": "payload", "name": "action"}}}
    hook = {"id": "bench", "execute-command": "/bin/true", "trigger-rule": {"and": [rule, never]}}
    (folder / "hooks.json").write_text(json.dumps([hook]), encoding="utf-8")
    port = free_port()
    return [program, "-hooks", str(folder / "hooks.json"), "-ip", "127.0.0.1", "-port", str(port)], port


def start(argv: list[str], port: int | None) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if port is None:
        assert process.stdout is not None
        return process, int(process.stdout.readline())
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--webhook", default=shutil.which("webhook"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as name:
        folder = Path(name)
        rows: dict[str, tuple[list[str], int | None, str]] = {
            "forty lines": ([sys.executable, str(HERE / "ingest_forty.py"), name], None, "/"),
            "tickover": ([sys.executable, "-m", "tickover.testing.ingest_server", name], None, "/hooks/r/github"),
        }
        if given.webhook:
            rows["Debian webhook"] = (*debian_webhook(given.webhook, folder), "/hooks/bench")
        else:
            print("Debian webhook: not here (apt-get install webhook, or --webhook PATH)")
        measure(rows, given)


def measure(rows: dict[str, tuple[list[str], int | None, str]], given: argparse.Namespace) -> None:
    running = {name: (*start(argv, port), path) for name, (argv, port, path) in rows.items()}
    rates: dict[str, list[float]] = {name: [] for name in rows}
    costs: dict[str, list[float]] = {name: [] for name in rows}
    times: dict[str, list[float]] = {name: [] for name in rows}
    try:
        for at in range(given.rounds + 1):
            for name, (process, port, path) in running.items():
                before = cpu_seconds(process.pid)
                took = asyncio.run(load(port, path, given.connections, given.seconds if at else 1))
                if at:  # the first is for warming up
                    rates[name].append(len(took) / given.seconds)
                    costs[name].append((cpu_seconds(process.pid) - before) / len(took) * 1e6)
                    times[name] += took
    finally:
        for process, _, _ in running.values():
            process.send_signal(signal.SIGKILL)
            process.communicate()
    base_rate, base_cost = statistics.median(rates["forty lines"]), min(costs["forty lines"])
    print(f"{'':16} {'events/s':>9} {'x base':>7} {'CPU us':>7} {'x base':>7} {'p50 ms':>7} {'p99 ms':>7}")
    for name in rows:
        rate, cost, sorted_times = statistics.median(rates[name]), min(costs[name]), sorted(times[name])
        p50, p99 = (sorted_times[int(len(sorted_times) * part)] * 1e3 for part in (0.5, 0.99))
        print(
            f"{name:16} {rate:9.0f} {rate / base_rate:7.2f} {cost:7.0f} {base_cost / cost:7.2f} {p50:7.1f} {p99:7.1f}"
        )
    print(f"{given.connections} connections, {given.rounds} rounds of {given.seconds:g} s, {len(BODY)} bytes each;")
    print(
        "x base: events per second, and events per CPU second (goal: at least 0.8); the sender is this Python process"
    )


if __name__ == "__main__":
    main()
