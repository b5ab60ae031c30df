"""What this instance itself asks of GitHub, outside any run: by the gateway, with one credential, for one errand.

The way is open as long as the errand lasts and leads to the API alone. What may be written is a rule of the gateway's,
so neither a forged event nor a hostile answer makes anything else of it. With an App's key the token is for the one
repository; as the App itself it is a JWT.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx

from tickover.control.house import House
from tickover.control.install import Alive, Memo
from tickover.control.network import Way
from tickover.core.document import DocumentError, read_json
from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers, Rule
from tickover.core.errors import TickoverError, UsageError
from tickover.core.github_app import AppScope
from tickover.core.instance import Instance
from tickover.core.network import Asked, Binding, policy_of
from tickover.core.receipt import Identity
from tickover.core.target import Target, read_origin
from tickover.core.text import one_line

SECONDS: Final = 60.0
MOST: Final = 32 << 20
"""Bytes of an answer that are read: a delivery's payload has 25 MB at most."""
_REFUSED: Final = "x-tickover-deny"


class GitHubError(TickoverError):
    """GitHub was not reached, or answered with an error. `again`: trying later may help; `after` is in seconds."""

    def __init__(self, code: str, message: str, *, again: bool, after: float | None = None) -> None:
        super().__init__(f"github.{code}", message)
        self.again = again
        self.after = after


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer. `next` is the path of the next page."""

    status: int
    content: Any
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be done: writes (METHOD and path below the API, `*` one segment), and what an App's token is for.

    `scope` None: as the App itself.
    """

    writes: Sequence[str] = ()
    scope: AppScope | None = None


class GitHub:
    """The API, for as long as an errand lasts."""

    def __init__(self, client: httpx.AsyncClient, base: str) -> None:
        self._client = client
        self._base = base

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        """Ask for a path below the API's address. Raises GitHubError for every answer that is not a good one."""
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._client.request(method, f"{self._base}{path}", json=body)
        except (TimeoutError, httpx.HTTPError) as error:
            why = one_line(str(error), 200) or type(error).__name__
            raise GitHubError("unreachable", f"{path} was not answered: {why}", again=True) from None
        content = _content(answer)
        if (reason := answer.headers.get(_REFUSED)) is not None:
            said = content.get("error", {}).get("detail", "") if isinstance(content, dict) else ""
            again = answer.status_code >= 500
            text = f"the gateway did not let it through: {reason}: {one_line(str(said), 300)}"
            raise GitHubError("refused", text, again=again)
        if not answer.is_success:
            raise _failed(answer, content, path)
        return Reply(answer.status_code, content, self._next(answer))

    def _next(self, answer: httpx.Response) -> str | None:
        """Return the path of the next page. Its host is of no interest: the way leads to one only."""
        url = answer.links.get("next", {}).get("url")
        if url is None:
            return None
        try:
            found = httpx.URL(url)
        except httpx.InvalidURL:
            return None
        path = found.raw_path.decode("ascii", "replace")
        return path.removeprefix(httpx.URL(self._base).path.rstrip("/"))


@asynccontextmanager
async def github(house: House, instance: Instance, errand: Errand) -> AsyncIterator[GitHub]:
    """Open the way to the API. Raises UsageError where tickover.yaml has not what it needs, GatewayGone."""
    egress, base = egress_for(instance, errand)
    alive = Alive()
    way = Way(house, Memo(f"github-{secrets.token_hex(8)}"), alive, Identity.SETUP, egress)
    way.roots = instance.network.roots
    beating = asyncio.create_task(alive.beat())
    try:
        door, authority = await way.door()
        async with httpx.AsyncClient(
            trust_env=False,
            timeout=SECONDS,
            follow_redirects=False,
            proxy=httpx.Proxy(door.url),
            verify=ssl.create_default_context(cadata=authority.decode("ascii")),
            headers={"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"},
        ) as client:
            yield GitHub(client, base)
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        await way.close()


def egress_for(instance: Instance, errand: Errand) -> tuple[Egress, str]:
    """Return the way out of an errand, and the API's address. Raises UsageError."""
    name = instance.github.credential
    known = None if name is None else instance.credentials.get(name)
    form = known.form(instance.network.rules()) if known is not None else None
    if name is None or known is None or form is None:
        text = f"this instance has no credential `{name}` that can be sent" if name else "`github` has no `credential`"
        raise UsageError("github.credential", text, hint="tickover.yaml: `github: {credential: NAME}`")
    base = (form.app.api if form.app is not None else instance.github.api).rstrip("/")
    _, host, port = read_origin(base)
    policy = policy_of(
        [Asked(f"{host}:{port}", "github", inspect=True)], {}, instance.network.rules(), [Binding(name, known.hosts)]
    )
    if name not in policy.credentials_for(host, port):
        raise UsageError("credential.not_bound", f"the credential `{name}` may not go to {host}:{port}")
    rules = tuple(
        Rule("github", Target.parse(f"{method} {base}{path}"), name)
        for method, _, path in (each.partition(" ") for each in errand.writes)
    )
    return Egress(policy, Powers(rules), {name: _formed(form, errand, instance)}), base


def _formed(form: CredentialForm, errand: Errand, instance: Instance) -> CredentialForm:
    if form.app is None:
        return form
    private = instance.is_private(*form.app.place)
    scopes = () if errand.scope is None else (errand.scope,)
    return replace(form, app=replace(form.app, scopes=scopes, itself=errand.scope is None, private=private))


def _content(answer: httpx.Response) -> Any:
    try:
        return read_json(answer.content[:MOST])
    except DocumentError:
        return None


def _failed(answer: httpx.Response, content: Any, path: str) -> GitHubError:
    status = answer.status_code
    after = answer.headers.get("retry-after", "")
    limited = status == 429 or (status == 403 and bool(after or answer.headers.get("x-ratelimit-remaining") == "0"))
    message = content.get("message") if isinstance(content, dict) else None
    text = f"{path} was answered with {status}: {one_line(str(message or 'nothing more'), 200)}"
    seconds = float(after) if after.isascii() and after.isdigit() and len(after) < 6 else None
    return GitHubError(str(status), text, again=limited or status >= 500, after=seconds)
