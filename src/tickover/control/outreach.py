"""What this process itself asks of the world for a run: pages, connectors, and repositories reached by https.

It goes through the gateway as identity `verifier`, as the agent's traffic does as its own: only to what the routine
names, to a private address only where `tickover.yaml` allows it, with the credential that is bound to the host put in
by the gateway, and with a receipt. Every function makes a session of its own that ends with it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from tickover.checks.base import HttpAnswer
from tickover.checks.http_client import HttpUnreachable, Proxy, get
from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.network import Holder, Scribe, Way, more_roots
from tickover.control.record import Recorder
from tickover.core.check import HttpCheck
from tickover.core.connector import connected
from tickover.core.definition import Routine
from tickover.core.egress import Egress
from tickover.core.errors import TickoverError
from tickover.core.instance import (
    Instance,
    account_egress_of,
    checks_of,
    page_egress_of,
    read_back_of,
    verifier_egress_of,
)
from tickover.core.receipt import Identity
from tickover.core.target import TargetError
from tickover.gateway.certificates import system_roots
from tickover.workspace.base import Commit
from tickover.workspace.git import Through

_READ_BACK_S: Final = 30.0


async def get_page(
    house: House, routine: Routine, record: Recorder, kept: Kept, url: str, *, timeout_s: float
) -> HttpAnswer:
    """Get a page for a check. Raises HttpUnreachable, GatewayGone, DefinitionErrors.

    A loopback address that stands as such in the routine is asked directly, without credential and receipt.
    """
    if house.offline:
        raise offline(url)
    if _own_machine(routine, url):
        return await get(url, timeout_s=timeout_s)
    instance = await asyncio.to_thread(house.instance)
    try:
        egress = page_egress_of(routine, instance, house.presets(), url)
    except TargetError as error:
        hint = "give the machine a name, and allow it in tickover.yaml (`network.private`) if its address is private"
        raise HttpUnreachable("http.unreachable", f"{url} cannot be asked: {error.message}", hint=hint) from error
    return await _through_gateway(house, record, kept, egress, instance, url, timeout_s)


async def read_connector(
    house: House, routine: Routine, record: Recorder, kept: Kept, name: str, path: str, query: Mapping[str, str]
) -> HttpAnswer:
    """Read `path` below a connector's address, with the credential that is for that. Raises as `get_page` does."""
    if house.offline:
        raise offline(name)
    instance = await asyncio.to_thread(house.instance)
    egress = read_back_of(routine, instance, house.presets())[name]
    address = connected(name, instance.connectors, name).url + quote(path) + (f"?{urlencode(query)}" if query else "")
    return await _through_gateway(house, record, kept, egress, instance, address, _READ_BACK_S)


async def ask_connector(
    house: House, record: Scribe, kept: Holder, instance: Instance, name: str, credential: str, path: str
) -> HttpAnswer:
    """Read `path` below a connector's address with this credential. Raises as `get_page` does."""
    if house.offline:
        raise offline(name)
    egress = account_egress_of(name, credential, instance, house.presets())
    address = connected(name, instance.connectors, name).url + path
    return await _through_gateway(house, record, kept, egress, instance, address, _READ_BACK_S)


async def count_rows(
    house: House, routine: Routine, record: Recorder, kept: Kept, name: str, query: str, values: tuple[str, ...]
) -> int:
    """Ask a database how many rows a query has. Raises TickoverError (`sql.*`), GatewayGone, DefinitionErrors."""
    if house.offline:
        raise offline(name)
    instance = await asyncio.to_thread(house.instance)
    egress = read_back_of(routine, instance, house.presets())[name]
    settings = instance.connectors[name].sql
    assert settings is not None
    way = _way(house, record, kept, egress, instance)
    try:
        return await way.count_rows(settings.asking(query, values))
    finally:
        await way.close()


async def _through_gateway(
    house: House, record: Scribe, kept: Holder, egress: Egress, instance: Instance, url: str, timeout_s: float
) -> HttpAnswer:
    way = _way(house, record, kept, egress, instance)
    try:
        door, authority = await way.door()
        return await get(url, timeout_s=timeout_s, proxy=Proxy(door.url, authority))
    finally:
        await way.close()


async def resolve_refs(
    house: House, routine: Routine, record: Recorder, kept: Kept, url: str, refs: Sequence[str | None]
) -> list[Commit]:
    """Resolve refs of one of the routine's repositories, as `Mirrors.resolve_all` does. Raises as it does."""
    if house.offline:
        raise offline(url)
    if not url.startswith("https://"):
        return await house.mirrors.resolve_all(url, refs)
    async with _fetching(house, routine, record, kept) as through:
        return await house.mirrors.resolve_all(url, refs, through=through)


def offline(what: str) -> TickoverError:
    """Return why a replay does not ask for something outside."""
    return TickoverError("replay.offline", f"a replay does not look at the outside world: {what} was not asked")


@asynccontextmanager
async def _fetching(house: House, routine: Routine, record: Recorder, kept: Kept) -> AsyncIterator[Through]:
    instance = await asyncio.to_thread(house.instance)
    way = _way(house, record, kept, verifier_egress_of(routine, instance, house.presets()), instance)
    try:
        door, authority = await way.door()
        trusted = await asyncio.to_thread(lambda: system_roots() + more_roots(way.roots) + b"\n" + authority)
        with tempfile.NamedTemporaryFile(prefix="tickover-", suffix=".pem") as file:
            await asyncio.to_thread(Path(file.name).write_bytes, trusted)
            yield Through(door.url, file.name)
    finally:
        await way.close()


def _way(house: House, record: Scribe, kept: Holder, egress: Egress, instance: Instance) -> Way:
    way = Way(house, record, kept, Identity.VERIFIER, egress)
    way.roots = instance.network.roots
    return way


def _own_machine(routine: Routine, url: str) -> bool:
    """Say whether the routine's author wrote this address down, and it is of this machine's loopback interface."""
    if all(check.url != url for _, check in checks_of(routine) if isinstance(check, HttpCheck)):
        return False
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False
