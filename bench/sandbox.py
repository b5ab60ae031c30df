"""What a sandbox costs, as ratios to bare bubblewrap in the same run: start, many at once, a large layer.

    python bench/sandbox.py [--quick]

Goal: from an accepted run in a warm process to the command's first byte, layer and checkout cached: at most 3x a bare
`bwrap` with an overlay as an ordinary user, at most 6x as root.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tickover.sandbox.base import Overlay, ResourceLimits, Sandbox, SandboxSpec
from tickover.sandbox.bwrap import BwrapBackend, find_bwrap

FIRST = ["/bin/sh", "-c", "echo x"]


def bare(bwrap: str, base: Path) -> tuple[float, float]:
    """Milliseconds to the first byte and to the end of the same command under bubblewrap alone, with its overlay."""
    system = [w for d in ("/usr", "/bin", "/sbin", "/lib", "/lib64") if os.path.isdir(d) for w in ("--ro-bind", d, d)]
    options = ["--unshare-all", "--die-with-parent", "--overlay-src", str(base), "--tmp-overlay", "/"]
    command = [bwrap, *options, *system, "--proc", "/proc", "--dev", "/dev", "--", *FIRST]
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={}) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        first = time.perf_counter()
        process.wait()
    return (first - began) * 1e3, (time.perf_counter() - began) * 1e3


async def ours(backend: BwrapBackend, spec: SandboxSpec) -> tuple[float, float]:
    began = time.perf_counter()
    sandbox = await backend.start(spec)
    first = 0.0
    async for _ in sandbox.stream():
        first = first or time.perf_counter()
    await sandbox.wait()
    ended = time.perf_counter()
    await sandbox.destroy()
    return (first - began) * 1e3, (ended - began) * 1e3


async def sealed(backend: BwrapBackend, name: str, line: str) -> Path:
    """A sealed folder as a layer or a checkout is one."""
    spec = SandboxSpec(
        name=f"make-{name}", argv=["/bin/sh", "-c", line], sealable=True, limits=ResourceLimits(disk=8 << 30)
    )
    sandbox = await backend.start(spec)
    async for _ in sandbox.stream():
        pass
    assert (await sandbox.wait()).code == 0
    path = backend.data / "layers" / name
    await sandbox.seal("root", path)
    await sandbox.destroy()
    return path


def row(name: str, values: list[float], base: float) -> None:
    values.sort()
    middle = statistics.median(values)
    print(f"{name:44} {middle:8.1f} ms  x{middle / base:4.1f}   ({values[0]:.1f} .. {values[-1]:.1f}, n={len(values)})")


async def start_up(backend: BwrapBackend, rounds: int, skeleton: Path, layer: Path, large: Path) -> None:
    limits = ResourceLimits()
    kinds = {
        "ours, nothing but the base": SandboxSpec("", FIRST, limits=limits),
        "ours, layer and checkout": SandboxSpec(
            "", FIRST, layers=(layer,), overlays=(Overlay("/workspace", (layer,), "workspace"),), limits=limits
        ),
        "ours, with the 1 GB layer": SandboxSpec("", FIRST, layers=(large,), limits=limits),
    }
    bwrap = find_bwrap()
    times: dict[str, list[float]] = {"bare bwrap, overlay": [], **{name: [] for name in kinds}}
    for number in range(rounds):  # interleaved, so that a busy moment touches every row
        times["bare bwrap, overlay"].append(bare(bwrap, skeleton)[0])
        for name, spec in kinds.items():
            values = {slot: getattr(spec, slot) for slot in spec.__slots__}
            numbered = SandboxSpec(**{**values, "name": f"bench-{number}-{len(name)}"})
            times[name].append((await ours(backend, numbered))[0])
            await asyncio.sleep(0.05)
    base = statistics.median(times["bare bwrap, overlay"])
    print(f"first byte of the command, as {'root' if os.geteuid() == 0 else 'an ordinary user'}")
    for name, values in times.items():
        row(f"  {name}", values, base)


async def many(backend: BwrapBackend, count: int) -> None:
    before = available()
    began = time.perf_counter()
    sandboxes: list[Sandbox] = []
    for number in range(count):
        spec = SandboxSpec(f"idle-{number}", ["/bin/sleep", "600"], limits=ResourceLimits(disk=64 << 20))
        sandboxes.append(await backend.start(spec))
    up = time.perf_counter() - began
    used = before - available()
    began = time.perf_counter()
    for sandbox in sandboxes:
        await sandbox.kill()
    for sandbox in sandboxes:
        await sandbox.wait()
    down = time.perf_counter() - began
    print(
        f"{count} idle sandboxes: up {up:.1f} s, {used / count / 1024:.2f} MiB of memory each, killed in {down:.2f} s"
    )
    for sandbox in sandboxes:
        await sandbox.destroy()


def available() -> int:
    """Return the kernel's MemAvailable, in KiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def bare_base(folder: Path) -> Path:
    """Return an empty root for bare bubblewrap to lay its overlay over."""
    base = folder / "bare"
    for name in ("usr", "bin", "sbin", "lib", "lib64", "proc", "dev"):
        (base / name).mkdir(parents=True)
    folder.chmod(0o755)
    return base


async def run(quick: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="tickover-bench-", dir="/var/tmp"))
    try:
        backend = await BwrapBackend.open(folder)
        layer = await sealed(backend, "small", "mkdir -p /opt/a && echo x > /opt/a/b")
        began = time.perf_counter()
        files = 1000 if quick else 16000
        line = (
            f"mkdir /opt/l && cd /opt/l && head -c 65536 /dev/zero > 1 && for i in $(seq 2 {files}); do cp 1 $i; done"
        )
        large = await sealed(backend, "large", line)
        took = time.perf_counter() - began
        print(f"layer of {files} files, {files * 65536 / 1e9:.2f} GB: made and sealed in {took:.1f} s")
        await start_up(backend, 7 if quick else 25, bare_base(folder), layer, large)
        await many(backend, 30 if quick else 300)
        await backend.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer sandboxes, a smaller layer")
    asyncio.run(run(parser.parse_args().quick))


if __name__ == "__main__":
    main()
