"""Doubles that a run reaches as `https://localhost:PORT`, and the instance's configuration that lets it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from tickover.gateway.certificates import RunAuthority
from tickover.testing.upstream import Handler, Upstream, say_ok, upstream

HOST = "localhost"


@asynccontextmanager
async def serving(handler: Handler = say_ok) -> AsyncIterator[Upstream]:
    """Serve a double with a certificate authority of its own."""
    authority = RunAuthority("double", now=datetime.now(UTC))
    async with upstream(HOST, handler, authority=authority) as double:
        yield double


def entry(double: Upstream) -> str:
    """Return what a routine lists to reach it."""
    return f"{HOST}:{double.port}"


def url(double: Upstream) -> str:
    return f"https://{entry(double)}"


def configure(home: Path, doubles: Iterable[Upstream], *, private: bool = True) -> None:
    """Write `tickover.yaml` into a data folder: these doubles may be private, and their certificates are trusted."""
    doubles = list(doubles)
    pem = b"".join(double.authority.pem for double in doubles if double.authority)
    trust(home, [double.port for double in doubles] if private else [], pem)


def trust(home: Path, ports: Iterable[int], pem: bytes) -> None:
    """Write `tickover.yaml` into a data folder: these ports of localhost may be dialled, and `pem` is trusted."""
    roots = home / "roots.pem"
    roots.write_bytes(pem)
    network = {"private": [f"{HOST}:{port}" for port in ports], "roots": [str(roots)]}
    (home / "tickover.yaml").write_text(json.dumps({"network": network}))
