"""Deliveries of GitHub that never arrived: found in GitHub's own list, and put in as if they had come.

GitHub sends each delivery once. What it lists and no event here has is read from its API and stored as an event under
the delivery's GUID, so that a late or repeated delivery of the same is one event. Nobody signed such a payload: it came
over TLS from the API by this instance's own credential, and its header `x-tickover-trust: api` says so. GitHub lists
three days; a longer time without looking is a window of which nobody knows, and is told.
Sources: https://docs.github.com/en/rest/apps/webhooks, https://docs.github.com/en/rest/repos/webhooks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from tickover.control.github import Errand, GitHub
from tickover.control.route import Target
from tickover.control.triggers import APP_SOURCE
from tickover.core.github_desk import Sent, read_sent
from tickover.core.trigger import GitHubTrigger
from tickover.store.base import Blobs
from tickover.store.events import Events, NewEvent

KEPT_S: Final = 3 * 86400.0
"""Seconds for which GitHub lists deliveries."""
OVERLAP_S: Final = 900.0
"""Seconds before the last look that are looked at again: a delivery is listed a while after it was sent."""
GRACE_S: Final = 60.0
"""Seconds for which a delivery may still be on its way to us."""
TRUST: Final = "x-tickover-trust"
INLINE: Final = 256 << 10
"""Bytes of a payload that is kept in the database; a larger one becomes a blob."""
_PAGES: Final = 100
_NOTE: Final = "github-backfill"

Open = Callable[[Errand], AbstractAsyncContextManager[GitHub]]
Note = Callable[..., str | None]


@dataclass(frozen=True, slots=True)
class Filled:
    """What a look at one list came to. `lost` is the beginning and end of a window that GitHub no longer lists."""

    source: str
    listed: int = 0
    recovered: tuple[str, ...] = ()
    asked_again: int = 0
    lost: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class _Feed:
    """A list of deliveries, and what its events are filed under."""

    path: str
    source: str


class Backfill:
    """Looks, whenever it is told to. `note` keeps when it looked last, `targets` lists the triggers of this instance.

    `as_app`: the credential is an App's key, so its own webhook is looked at; else those of the triggers' repositories.
    """

    def __init__(
        self,
        *,
        events: Events,
        blobs: Blobs,
        targets: Callable[[], Sequence[Target]],
        opened: Open,
        as_app: Callable[[], bool],
        note: Note,
        clock: Callable[[], float],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._events = events
        self._blobs = blobs
        self._targets = targets
        self._opened = opened
        self._as_app = as_app
        self._note = note
        self._clock = clock
        self._wake = wake

    async def look(self, *, since: float | None = None) -> list[Filled]:
        """Put in what is missing since the last look, or since then (UTC epoch seconds).

        The first look of all only begins: what was sent before nobody waited for. Raises GitHubError, UsageError,
        StoreError; then the next look begins where this one did.
        """
        errand = Errand(("POST /app/hook/deliveries/*/attempts", "POST /repos/*/*/hooks/*/deliveries/*/attempts"))
        found = []
        async with self._opened(errand) as api:
            for feed in await self._feeds(api):
                begun = self._clock()
                mark = await asyncio.to_thread(self._note, f"{_NOTE}:{feed.source}")
                if mark is not None or since is not None:
                    start = since if since is not None else float(mark or 0) - OVERLAP_S
                    found.append(await self._fill(api, feed, start, begun))
                await asyncio.to_thread(self._note, f"{_NOTE}:{feed.source}", str(begun))
        return found

    async def _feeds(self, api: GitHub) -> list[_Feed]:
        if self._as_app():
            return [_Feed("/app/hook/deliveries", APP_SOURCE)]
        mine: dict[str, list[str]] = {}
        for target in self._targets():
            if isinstance(target.trigger, GitHubTrigger):
                mine.setdefault(target.trigger.repo, []).append(target.name)
        feeds = []
        for repo, names in mine.items():
            hooks = (await api.ask("GET", f"/repos/{repo}/hooks?per_page=100")).content
            for hook in hooks if isinstance(hooks, list) else ():
                name = _source(hook, names)
                if name is not None:
                    feeds.append(_Feed(f"/repos/{repo}/hooks/{int(hook['id'])}/deliveries", name))
        return feeds

    async def _fill(self, api: GitHub, feed: _Feed, start: float, now: float) -> Filled:
        oldest = now - KEPT_S
        listed = await self._listed(api, feed, max(start, oldest), now - GRACE_S)
        missing = await asyncio.to_thread(self._events.missing, feed.source, list(listed))
        recovered, again = [], 0
        for guid in reversed(missing):  # the oldest first
            event = await self._recover(api, feed, listed[guid])
            if event is None:
                again += 1
            else:
                recovered.append(event)
        if recovered:
            self._wake()
        lost = (start, oldest) if start < oldest else None
        return Filled(feed.source, len(listed), tuple(recovered), again, lost)

    async def _listed(self, api: GitHub, feed: _Feed, start: float, end: float) -> dict[str, Sent]:
        """Return one attempt for each GUID that was sent between two moments, newest first."""
        found: dict[str, Sent] = {}
        path: str | None = f"{feed.path}?per_page=100"
        for _ in range(_PAGES):
            if path is None:
                break
            reply = await api.ask("GET", path)
            entries = reply.content if isinstance(reply.content, list) else []
            sent = [one for each in entries if (one := read_sent(each, _moment(each))) is not None]
            found |= {each.guid: each for each in sent if start <= each.at <= end and each.guid not in found}
            path = reply.next if not sent or min(each.at for each in sent) >= start else None
        return found

    async def _recover(self, api: GitHub, feed: _Feed, sent: Sent) -> str | None:
        """Store a delivery's payload and return its event; where GitHub has none, ask it to send it again."""
        content = (await api.ask("GET", f"{feed.path}/{sent.number}")).content
        request = content.get("request") if isinstance(content, dict) else None
        payload = request.get("payload") if isinstance(request, dict) else None
        if not isinstance(payload, dict):
            await api.ask("POST", f"{feed.path}/{sent.number}/attempts")
            return None
        body = json.dumps(payload).encode()
        digest = None if len(body) <= INLINE else await asyncio.to_thread(self._blobs.put, body)
        headers = {"content-type": "application/json", "x-github-event": sent.event[:100]}
        headers |= {"x-github-delivery": sent.guid, TRUST: "api"}
        put = await self._events.put(
            NewEvent(
                source=feed.source,
                provider="github",
                delivery=sent.guid,
                name="",
                received_at=self._clock(),
                headers=headers,
                size=len(body),
                body=body if digest is None else None,
                digest=digest,
            )
        )
        return put.event if put.created else None


def _source(hook: Any, names: Sequence[str]) -> str | None:
    """Return which trigger a webhook of a repository sends to, by its address."""
    config = hook.get("config") if isinstance(hook, dict) else None
    url = config.get("url") if isinstance(config, dict) else None
    if not isinstance(url, str) or not isinstance(hook.get("id"), int):
        return None
    parts = urlsplit(url).path.strip("/").split("/")
    return next((each for each in names if parts[:3] == ["hooks", *each.split("/")]), None)


def _moment(entry: Any) -> float | None:
    text = entry.get("delivered_at") if isinstance(entry, dict) else None
    try:
        return datetime.fromisoformat(text).timestamp()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
