"""Marks on commits: a run that a GitHub event started stands there as pending, and at its end as what was proved.

A mark is a letter of the outbox: durable before it is sent, tried again, given up at last, and there once for each run
and state. Before one is sent again, or a check run is changed, GitHub is asked what stands there already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Any, Final

from tickover.control.github import Errand, GitHub, GitHubError
from tickover.core.errors import TickoverError
from tickover.core.github_app import AppScope
from tickover.core.github_desk import (
    PENDING,
    GitHubSettings,
    Head,
    Mark,
    check_body,
    event_of,
    head_of,
    mark_of,
    status_body,
)
from tickover.core.row import RunRow
from tickover.notify.base import NotifyError
from tickover.relay.content import read_content
from tickover.store.base import Blobs
from tickover.store.errors import StoreError
from tickover.store.events import EventRecord, Events
from tickover.store.outbox import Draft, Letter, Outbox

BEGUN: Final = "(github) pending"
ENDED: Final = "(github) end"
"""Targets of letters; no name that tickover.yaml could have."""
CHECKS: Final = ("POST /repos/*/*/check-runs", "PATCH /repos/*/*/check-runs/*")
STATUSES: Final = ("POST /repos/*/*/statuses/*",)
_LOG = logging.getLogger("tickover.marks")

Open = Callable[[Errand], AbstractAsyncContextManager[GitHub]]


class CommitMarks:
    """`control.notify.Marks`. `settings` is read each time, `row` returns a run as it is now, `more` its address."""

    def __init__(
        self,
        *,
        events: Events,
        blobs: Blobs,
        outbox: Outbox,
        settings: Callable[[], GitHubSettings],
        row: Callable[[str], RunRow],
        more: Callable[[str], str],
        opened: Open,
        clock: Callable[[], float],
    ) -> None:
        self._events = events
        self._blobs = blobs
        self._outbox = outbox
        self._settings = settings
        self._row = row
        self._more = more
        self._opened = opened
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._known = GitHubSettings()

    def _now(self) -> GitHubSettings:
        """Return the settings; those of before where tickover.yaml cannot be read just now."""
        try:
            self._known = self._settings()
        except TickoverError as error:
            _LOG.warning("tickover.yaml: %s", error.code)
        return self._known

    def begun(self, record: EventRecord, document: Any, routine: str, run: str) -> None:
        """Keep that a run was queued for an event. Raises StoreError."""
        head = self._head(record, document)
        if head is not None:
            self._outbox.add(run, routine, self._draft(BEGUN, routine, run, head, PENDING), self._clock())

    def ended(self, row: RunRow) -> list[Draft]:
        event = event_of(row)
        if event is None or self._now().marks == "none":
            return []
        try:
            record = self._events.get(event)
            head = self._head(record, read_content(record.headers.get("content-type", ""), self._body(record)))
        except StoreError:
            raise
        except TickoverError as error:  # its body is gone: there is nothing that the mark could stand beside
            _LOG.warning("run %s has no mark: %s", row.id, error.code)
            return []
        return [] if head is None else [self._draft(ENDED, row.routine, row.id, head, mark_of(row))]

    def knows(self, letter: Letter) -> bool:
        return letter.target in {BEGUN, ENDED}

    async def send(self, letter: Letter) -> str:
        body = letter.body
        head, mark = Head(**body["head"]), Mark(**body["mark"])
        settings = self._now()
        if settings.marks == "none":
            raise NotifyError("target", "`github.marks` is none by now", again=False)
        async with self._one_at_a_time:  # a mark of the begin never comes after that of the end
            if letter.target == BEGUN and (await asyncio.to_thread(self._row, letter.run or "")).finished is not None:
                return "the run has ended meanwhile"
            try:
                return await self._mark(settings, letter, head, mark, str(body["context"]))
            except GitHubError as error:
                raise NotifyError(
                    error.code.rpartition(".")[2], error.message, again=error.again, after=error.after
                ) from error
            except TickoverError as error:
                raise NotifyError("github", error.message, again=True, hint=error.hint) from error

    async def _mark(self, settings: GitHubSettings, letter: Letter, head: Head, mark: Mark, context: str) -> str:
        run, url = letter.run or "", self._more(letter.run or "")
        owner, _, name = head.repo.partition("/")
        if settings.marks == "check":
            errand = Errand(CHECKS, AppScope(owner, (name,), ("checks",), ()))
        else:
            errand = Errand(STATUSES, AppScope(owner, (name,), ("statuses",), ()))
        async with self._opened(errand) as api:
            if settings.marks == "check":
                return await _check(api, head, check_body(mark, context, url, run, head.sha))
            return await _status(api, head, status_body(mark, context, url), again=letter.tries > 0)

    def _head(self, record: EventRecord, document: Any) -> Head | None:
        wanted = record.provider == "github" and self._now().marks != "none"
        return head_of(document) if wanted else None

    def _body(self, record: EventRecord) -> bytes:
        if record.body is not None:
            return record.body
        return b"" if record.digest is None else self._blobs.get(record.digest)

    def _draft(self, target: str, routine: str, run: str, head: Head, mark: Mark) -> Draft:
        context = f"{self._now().context}/{routine}"
        return Draft(
            target, (mark.state,), "", {"head": asdict(head), "mark": asdict(mark), "context": context, "run": run}
        )


async def _status(api: GitHub, head: Head, body: Mapping[str, Any], *, again: bool) -> str:
    if again:  # the answer to an earlier try may have been lost on its way
        there = (await api.ask("GET", f"/repos/{head.repo}/commits/{head.sha}/status?per_page=100")).content
        known = there.get("statuses") if isinstance(there, dict) else None
        for each in known if isinstance(known, list) else ():
            if isinstance(each, dict) and all(each.get(key) == value for key, value in body.items()):
                return f"{body['state']} stood at {head.repo}@{head.sha[:12]} already"
    await api.ask("POST", f"/repos/{head.repo}/statuses/{head.sha}", body)
    return f"{body['state']} at {head.repo}@{head.sha[:12]}"


async def _check(api: GitHub, head: Head, body: Mapping[str, Any]) -> str:
    where = f"{head.repo}@{head.sha[:12]}"
    query = f"check_name={body['name'].replace(' ', '%20').replace('/', '%2F')}&filter=all&per_page=100"
    there = (await api.ask("GET", f"/repos/{head.repo}/commits/{head.sha}/check-runs?{query}")).content
    found = there.get("check_runs") if isinstance(there, dict) else None
    known = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    mine = next((each for each in known if each.get("external_id") == body["external_id"]), None)
    state = body.get("conclusion", body["status"])
    if mine is None:
        await api.ask("POST", f"/repos/{head.repo}/check-runs", body)
    elif mine.get("status") == "completed" or "conclusion" not in body:
        return f"{state} stood at {where} already"
    else:
        rest = {key: value for key, value in body.items() if key not in {"head_sha", "name"}}
        await api.ask("PATCH", f"/repos/{head.repo}/check-runs/{int(mine['id'])}", rest)
    return f"{state} at {where}"
