"""Which files a pull request changes: its event does not say, so GitHub is asked, beside the router, not in its way.

An event waits for the answer as `received`; others go on. What GitHub does not say in the end is the event's reason.
Source: docs.github.com/en/rest/pulls/pulls, "List pull requests files": 3,000 files at most, a hundred on a page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from tickover.control.github import Errand, GitHub, GitHubError
from tickover.core.errors import TickoverError
from tickover.core.github import PullName
from tickover.core.github_app import AppScope

DELAYS: Final = (5.0, 20.0, 60.0)
"""Seconds before asking again, where that may help."""

_AT_ONCE: Final = 4
_MOST: Final = 3000
_PAGE: Final = 100

AskPaths = Callable[[PullName], Awaitable[Sequence[str]]]
Open = Callable[[Errand], AbstractAsyncContextManager[GitHub]]


def asking(opened: Open) -> AskPaths:
    """Return who asks GitHub, by the instance's credential; an App's token reads this one repository."""

    async def ask(pull: PullName) -> Sequence[str]:
        owner, _, name = pull.repository.partition("/")
        scope = AppScope(owner, (name,), (), ("pull_requests",))
        paths: set[str] = set()
        count, path = 0, f"/repos/{pull.repository}/pulls/{pull.number}/files?per_page={_PAGE}"
        async with opened(Errand((), scope)) as github:
            while path:
                reply = await github.ask("GET", path)
                if not isinstance(reply.content, list):
                    raise GitHubError("answer", "GitHub answered with something else than a list", again=False)
                count += len(reply.content)
                paths |= _paths(reply.content)
                if count >= _MOST:
                    raise GitHubError("files", f"it changes {_MOST} files or more: GitHub lists no more", again=False)
                path = reply.next or ""
        return sorted(paths)

    return ask


def _paths(listed: Sequence[Any]) -> set[str]:
    """Return the files' names, a renamed one's old name as well."""
    files = [each for each in listed if isinstance(each, dict)]
    return {each[key] for each in files for key in ("filename", "previous_filename") if isinstance(each.get(key), str)}


class ChangedPaths:
    """What is asked for and known, by event. Used in one event loop; `wake` is called when an answer is there."""

    def __init__(self, ask: AskPaths, *, wake: Callable[[], None], delays: Sequence[float] = DELAYS) -> None:
        self._ask = ask
        self._wake = wake
        self._delays = delays
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._asked: dict[str, asyncio.Task[Sequence[str]]] = {}

    def of(self, event: str, pull: PullName) -> Sequence[str] | TickoverError | None:
        """Return the paths, or why there are none; None while it is being asked for."""
        task = self._asked.get(event)
        if task is None:
            task = self._asked[event] = asyncio.create_task(self._until(pull))
            task.add_done_callback(lambda _: self._wake())
        if not task.done():
            return None
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, TickoverError):
            return error
        return GitHubError("internal", f"asking failed: {type(error).__name__}", again=False)

    def forget(self, event: str) -> None:
        """Let go of what is known for an event: it is decided."""
        self._asked.pop(event, None)

    async def close(self) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def _until(self, pull: PullName) -> Sequence[str]:
        for delay in self._delays:
            try:
                async with self._room:
                    return await self._ask(pull)
            except GitHubError as error:
                if not error.again:
                    raise
                wait = max(delay, min(error.after or 0.0, DELAYS[-1]))
            await asyncio.sleep(wait)
        async with self._room:
            return await self._ask(pull)
