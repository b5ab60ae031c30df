"""The preset `packages`: the registries that this machine's own pip, npm and apt use, asked of them.

No host stands here. A client's configuration comes first, then the default that is built into it; what it says is shown
to the same client inside, so that both use the same registry. A registry may keep its files on another host: that one
is learnt from an answer of the registry's own, and it gets no private address unless the client itself names it.

Sources of the questions: pip(1) `config list`, npm(1) `config list --json`, apt-get(8) `indextargets`; of the answers'
formats: the simple repository API (packaging.python.org, "Simple repository API"), npm's registry API (`dist.tarball`).
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from tickover.core.errors import TickoverError
from tickover.core.host import HostError
from tickover.core.network import Endpoint, Preset
from tickover.gateway.presets import PACKAGES

_ASK_SECONDS: Final = 60.0
_FETCH_SECONDS: Final = 30.0
_LARGEST: Final = 8 << 20  # bytes of a registry's answer that are looked at
_PORTS: Final = {"https": 443, "http": 80}
_LINK: Final = re.compile(r"""<a\b[^>]*?\bhref\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_SIMPLE: Final = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
_KNOWN_PROJECTS: Final = ("pip", "setuptools")
"""Projects that an index of Python's has if it has any: what is asked of it only says where its files are."""
_KNOWN_PACKAGE: Final = "npm"
_BUILT_IN: Final = "from pip._internal.models.index import PyPI as p; print(p.simple_url, p.file_storage_domain)"


Ask = Callable[[Sequence[str]], Awaitable[bytes]]
Fetch = Callable[[str, str], Awaitable[tuple[str, str, str]]]


@dataclass(frozen=True, slots=True)
class Packages:
    """What was found: hosts for the network, variables for the clients inside, and what could not be used."""

    preset: Preset
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    named: list[SplitResult] = field(default_factory=list)
    learnt: list[SplitResult] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def name(self, url: str, who: str) -> str | None:
        """Note a URL that a client names; return it as it is shown inside, or None where it is no use there."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            self.notes.append(f"{who} uses {parts.scheme or 'a path'}: what lies on this machine is not shown inside")
            return None
        if parts.username is not None or parts.password is not None:
            self.notes.append(f"{who} has a password in its address for {parts.hostname}: it is not shown inside")
            parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        self.named.append(parts)
        return parts.geturl()


async def ask_program(argv: Sequence[str]) -> bytes:
    """Run a client with a question and return its answer; nothing where it is not there or does not answer."""
    if shutil.which(argv[0]) is None:
        return b""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return b""
    return said if process.returncode == 0 else b""


async def fetch(url: str, accept: str) -> tuple[str, str, str]:
    """Get a page of a registry: its final URL, its media type, its text; empty where there is none."""
    try:
        async with (
            asyncio.timeout(_FETCH_SECONDS),
            httpx.AsyncClient(follow_redirects=True, timeout=_FETCH_SECONDS) as client,
            client.stream("GET", url, headers={"accept": accept}) as response,
        ):
            if response.status_code != httpx.codes.OK:
                return url, "", ""
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _LARGEST:
                    break
            media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return str(response.url), media, body.decode(errors="replace")
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL):
        return url, "", ""


async def find_packages(ask: Ask = ask_program, fetch: Fetch = fetch) -> Packages:
    """Ask this machine's clients, all at once. Raises TickoverError where none of them names a registry."""
    found = _Found()
    await asyncio.gather(_pip(found, ask, fetch), _npm(found, ask, fetch), _apt(found, ask))
    hosts = _entries(found.named)
    if not hosts:
        raise TickoverError(
            "network.no_packages",
            "neither pip nor npm nor apt of this machine names a registry that can be reached over the network",
            hint="install one of them, or list the hosts in `network`",
        )
    learnt = tuple(host for host in _entries(found.learnt) if host not in hosts)
    preset = Preset(PACKAGES, hosts, inspect=True, private=True, learnt=learnt)
    return Packages(preset, found.environment, tuple(found.notes))


def _entries(urls: Iterable[SplitResult]) -> tuple[str, ...]:
    entries = []
    for parts in urls:
        entry = f"{parts.hostname}:{parts.port or _PORTS[parts.scheme]}"
        try:
            Endpoint.parse(entry)
        except HostError:  # an address without a name has no place in a list of hosts
            continue
        entries.append(entry)
    return tuple(dict.fromkeys(entries))


# -- pip ---------------------------------------------------------------------------------------------------------------


async def _pip(found: _Found, ask: Ask, fetch: Fetch) -> None:
    # The one inside is the system's; where it has none, ours tells of the same configuration.
    for python in ("/usr/bin/python3", sys.executable):
        built_in, config = await asyncio.gather(
            ask([python, "-I", "-c", _BUILT_IN]), ask([python, "-m", "pip", "config", "list"])
        )
        if built_in:
            break
    else:
        return
    default, files = built_in.decode().split()
    said = _pip_config(config.decode(errors="replace"))
    index = found.name(said.get("index-url", default), "pip's index-url")
    more = [found.name(url, "pip's extra-index-url") for url in said.get("extra-index-url", "").split()]
    shown = [url for url in more if url]
    if "index-url" in said and index:
        found.environment["PIP_INDEX_URL"] = index
    if shown:
        found.environment["PIP_EXTRA_INDEX_URL"] = " ".join(shown)
    if index == default:
        found.named.append(urlsplit(f"https://{files}/"))
    if "proxy" in said:
        found.notes.append("pip's `proxy` is not used by runs: the gateway dials by itself")
    for url in filter(None, [index, *more]):
        found.learnt += await _python_files(url, fetch)


def _pip_config(said: str) -> dict[str, str]:
    """Read `KEY='VALUE'` lines; what is more special (`:env:`, a command's own section) comes later and wins."""
    values: dict[str, str] = {}
    rank: dict[str, int] = {}
    order = {"global": 1, "install": 2, ":env:": 3}
    for line in said.splitlines():
        key, equals, quoted = line.partition("=")
        section, _, name = key.rpartition(".")
        if not equals or section not in order or order[section] < rank.get(name, 0):
            continue
        try:
            values[name] = str(ast.literal_eval(quoted))
        except (ValueError, SyntaxError):
            continue
        rank[name] = order[section]
    return values


async def _python_files(index: str, fetch: Fetch) -> list[SplitResult]:
    """Learn where an index keeps its files from its page of a project."""
    for project in _KNOWN_PROJECTS:
        base, media, text = await fetch(f"{index.rstrip('/')}/{project}/", _SIMPLE)
        links = _json_links(text) if media.endswith("json") else [unescape(link) for link in _LINK.findall(text)]
        if links:
            return _reachable(urljoin(base, link) for link in links)
    return []


def _json_links(text: str) -> list[str]:
    try:
        files = json.loads(text)["files"]
        return [str(each["url"]) for each in files]
    except (ValueError, KeyError, TypeError):
        return []


def _reachable(urls: Iterable[str]) -> list[SplitResult]:
    parts = [urlsplit(url) for url in urls]
    one_each = {(each.scheme, each.netloc): each for each in parts if each.scheme in _PORTS and each.hostname}
    return list(one_each.values())


# -- npm ---------------------------------------------------------------------------------------------------------------


async def _npm(found: _Found, ask: Ask, fetch: Fetch) -> None:
    registry = (await ask(["npm", "config", "get", "registry"])).decode(errors="replace").strip()
    if not registry:
        return
    said = _object(await ask(["npm", "config", "list", "--json"]))
    shown = found.name(registry, "npm's registry")
    if shown is None:
        return
    found.environment["npm_config_registry"] = shown
    for key, value in said.items():
        if key.startswith("@") and key.endswith(":registry") and (scoped := found.name(str(value), f"npm's {key}")):
            found.environment[f"npm_config_{key}"] = scoped
    if said.get("proxy") or said.get("https-proxy"):
        found.notes.append("npm's `proxy` is not used by runs: the gateway dials by itself")
    _, _, text = await fetch(f"{shown.rstrip('/')}/{_KNOWN_PACKAGE}/latest", "application/json")
    tarball = _object(text.encode()).get("dist", {})
    if isinstance(tarball, dict) and isinstance(tarball.get("tarball"), str):
        found.learnt += _reachable([tarball["tarball"]])


def _object(text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text or b"{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


# -- apt ---------------------------------------------------------------------------------------------------------------


async def _apt(found: _Found, ask: Ask) -> None:
    said = await ask(["apt-get", "indextargets", "--format", "$(REPO_URI)"])
    for url in dict.fromkeys(said.decode(errors="replace").split()):
        found.name(url, "apt")


def is_asked(network: object) -> bool:
    """Say whether an environment's network names this preset."""
    return not isinstance(network, str) and isinstance(network, Sequence) and PACKAGES in network


INSIDE: Final = {
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "npm_config_prefix": "/home/agent/.local",
    "npm_config_update_notifier": "false",
}
"""Variables for clients inside `base: host`: /usr is read-only there, so what they install goes to the home."""
