"""The value of a credential is nowhere: not in a sandbox, not in a second one, not in anything that a run leaves.

The agent gives out every byte that it can read (environment, memory, /proc, files), and the server tells it the token
in every form that it can think of. Then all of it is searched, and the whole data folder, and every page.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tickover.cli.blocks import plain
from tickover.cli.network import network_json, network_page
from tickover.cli.show import run_page
from tickover.gateway.certificates import RunAuthority
from tickover.testing.upstream import Seen, Talk, Upstream, upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

TOKEN = b'xoxb/4711+"nobody&inside"=may.see/this'
MARK = "a-mark-that-is-everywhere"
GIVE_OUT = r"""
import glob, io, json, os, ssl, sys, tarfile, urllib.request
held = "in-memory-" + os.environ["MARK"]
told = b""
try:
    request = urllib.request.Request(sys.argv[1], b'{"a": 1}', {"content-type": "application/json"}, method="POST")
    answer = urllib.request.urlopen(request, timeout=30)
    told = str(answer.headers).encode() + answer.read()
except Exception as error:
    told = repr(error).encode()
os.makedirs("out", exist_ok=True)
with tarfile.open("out/everything.tar", "w") as tar:
    def keep(name, data):
        info = tarfile.TarInfo(name.lstrip("/")); info.size = len(data); tar.addfile(info, io.BytesIO(data))
    keep("told", told)
    keep("env", json.dumps(dict(os.environ)).encode())
    for folder in glob.glob("/proc/[0-9]*"):
        for name in ("environ", "cmdline", "maps", "status", "mountinfo"):
            try: keep(f"{folder}/{name}", open(f"{folder}/{name}", "rb").read())
            except OSError: pass
        try: maps, memory = open(f"{folder}/maps").read(), open(f"{folder}/mem", "rb", 0)
        except OSError: continue
        for line in maps.splitlines():
            place, rights, *_ = line.split()
            if "r" not in rights or "[v" in line or "/usr/" in line: continue
            start, end = (int(part, 16) for part in place.split("-"))
            try: memory.seek(start); keep(f"{folder}/mem/{place}", memory.read(min(end - start, 8 << 20)))
            except (OSError, ValueError, OverflowError): pass
    for top in ("/etc", "/home", "/root", "/run", "/tickover", "/tmp", "/var", "/workspace", "/dev/shm", "/opt"):
        for folder, _, files in os.walk(top):
            for name in files:
                path = os.path.join(folder, name)
                if path.startswith("/workspace/out") or os.path.islink(path) or not os.path.isfile(path): continue
                try: keep(path, open(path, "rb").read(4 << 20))
                except OSError: pass
print("gave out", len(told), "bytes that were told;", held)
"""


def spellings(secret: bytes) -> dict[str, bytes]:
    """Return what would betray the secret: each form, written without the code that hides them."""
    found = {"exact": secret, "reversed": secret[::-1], "hex": secret.hex().encode()}
    found["HEX"] = secret.hex().upper().encode()
    for offset in range(3):
        cut = base64.b64encode(b"x" * offset + secret)[4 if offset else 0 : -4]
        found |= {f"base64+{offset}": cut, f"base64url+{offset}": cut.translate(bytes.maketrans(b"+/", b"-_"))}
    found["url"] = quote(secret, safe="").encode()
    found["url, lower case"] = quote(secret, safe="").replace("%2F", "%2f").replace("%2B", "%2b").encode()
    found["json"] = json.dumps(secret.decode())[1:-1].encode()
    found["json, slashes"] = found["json"].replace(b"/", b"\\/")
    found["json, u"] = "".join(f"\\u{byte:04x}" for byte in secret).encode()
    return found


def views(data: bytes) -> Iterator[bytes]:
    """Yield the bytes, and what every gzip member in them holds."""
    yield data
    at = data.find(b"\x1f\x8b\x08")
    while at >= 0:
        with suppress(zlib.error):
            yield zlib.decompressobj(31).decompress(data[at : at + (1 << 20)], 8 << 20)
        at = data.find(b"\x1f\x8b\x08", at + 1)


def betrays(data: bytes, secret: bytes = TOKEN) -> list[str]:
    return [name for view in views(data) for name, form in spellings(secret).items() if form in view]


def written(path: Path) -> bytes:
    """Read what was ever written to a file: the image of a sandbox's disk is one large hole."""
    found, at = bytearray(), 0
    with path.open("rb") as file:
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # nothing but a hole from here on
                return bytes(found)
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            found += os.pread(file.fileno(), end - at, at)
            at = end


@pytest.mark.parametrize("name", spellings(TOKEN))
def test_the_search_finds_each_form_also_in_gzip(name: str) -> None:
    planted = b"before " + spellings(TOKEN)[name] + b" after"
    assert name in betrays(planted)
    assert name in betrays(b"\0" * 99 + gzip.compress(planted) + b"\0" * 99)
    assert betrays(b"nothing " * 1000 + gzip.compress(b"nothing")) == []


async def _tell_it_back(seen: Seen, talk: Talk) -> None:
    got = (seen.header("authorization") or "").removeprefix("Bearer ").encode()
    plain_forms = [form for name, form in spellings(got).items() if name != "reversed" and "base64" not in name]
    encoded = [encode(b"x" * n + got) for n in range(3) for encode in (base64.b64encode, base64.urlsafe_b64encode)]
    body = b"\n".join([b"told:", *plain_forms, *encoded, b":end"])
    packed = (("content-encoding", "gzip"),) if "gzip" in (seen.header("accept-encoding") or "") else ()
    headers = (("content-type", "text/plain"), ("x-echo", got.decode()), ("x-hex", got.hex()), *packed)
    await talk.answer(gzip.compress(body) if packed else body, headers=headers)


@pytest.fixture
async def double() -> AsyncIterator[Upstream]:
    authority = RunAuthority("chat", now=datetime.now(UTC))
    async with upstream("localhost", _tell_it_back, authority=authority) as double:
        yield double


def set_up(bench: Bench, double: Upstream) -> Path:
    """Write a routine that uses the token and gives out all it can read."""
    assert double.authority is not None
    host = f"localhost:{double.port}"
    roots = bench.folder / "roots.pem"
    roots.write_bytes(double.authority.pem)
    network = {"private": [host], "roots": [str(roots)]}
    (bench.tickover.home / "tickover.yaml").write_text(json.dumps({"network": network}))
    bench.tickover.secrets.set("chat", TOKEN, by="owner", binding={"hosts": [host]})
    to = f"POST https://{host}/tell"
    folder = bench.routine(
        f"cat > give.py <<'EOF'\n{GIVE_OUT}\nEOF\npython3 give.py https://{host}/tell\n",
        environment={"credentials": ["chat"], "env": {"MARK": MARK}},
        may=[{"request": {"to": to, "credential": "chat"}}],
        expect=[{"receipt": {"to": to, "request": {"json": {"a": 1}}}}],
        limits={"disk": "1GiB", "memory": "1GiB"},
    )
    bench.tickover.grant(folder, by="owner")
    return folder


def given_out(bench: Bench, run: str) -> dict[str, bytes]:
    data = bench.tickover.artifact(run, "out/everything.tar")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = [(each.name, tar.extractfile(each)) for each in tar]
        return {name: file.read() for name, file in files if file is not None}


@pytest.mark.timeout(300)
async def test_the_token_is_nowhere(bench: Bench, double: Upstream) -> None:
    row = await bench.run(set_up(bench, double))
    assert row.outcome == "verified", bench.said()
    assert double.seen[0].header("authorization") == f"Bearer {TOKEN.decode()}"
    dump = given_out(bench, row.id)
    assert dump["told"].rstrip().endswith(b":end")  # the whole answer came, and what it held was blotted out
    assert MARK.encode() in dump["env"]
    assert any(f"in-memory-{MARK}".encode() in data for name, data in dump.items() if "/mem/" in name)
    assert sum(name.startswith("proc/") and "/mem/" in name for name in dump) > 20
    assert {name: betrays(data) for name, data in dump.items() if betrays(data)} == {}

    second = bench.routine(
        f"cat > give.py <<'EOF'\n{GIVE_OUT}\nEOF\npython3 give.py https://localhost:{double.port}/tell\n",
        name="other",
        environment={"env": {"MARK": MARK}},
    )
    later = await bench.run(second)
    assert later.execution == "completed", bench.said()
    assert betrays(b"\0".join(given_out(bench, later.id).values())) == []
    assert len(double.seen) == 1

    pages = [line for each in (row, later) for block in run_page(each, 0.0) for line in plain(block)]
    traffic, wrong = await bench.tickover.traffic(row.id)
    pages += [line for block in network_page(row, traffic, wrong) for line in plain(block)]
    pages.append(json.dumps(network_json(row, traffic, wrong)))
    assert "chat" in "\n".join(pages)
    assert betrays("\n".join(pages).encode()) == []
    assert betrays(json.dumps([event.data for event in bench.tickover.journal(row.id)]).encode()) == []
    for path in bench.tickover.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert betrays(written(path)) == [], path
