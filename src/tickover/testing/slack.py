"""A double of Slack's Web API: one workspace, its channels, its tokens; answers as documented, with its own record.

Sources: https://docs.slack.dev/reference/methods (chat.postMessage, chat.update, conversations.history, auth.test) and
https://docs.slack.dev/apis/web-api/rate-limits. It is served by `tickover.testing.upstream`, over TLS.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tickover.testing.upstream import Seen, Talk

LONGEST_TEXT = 40_000


@dataclass(frozen=True)
class Account:
    """Who a token is: its user, and its scopes."""

    user: str
    scopes: frozenset[str] = frozenset({"chat:write", "channels:history"})


class NotOk(Exception):  # noqa: N818 - Slack's own word for it
    """`{"ok": false, "error": ...}`, which is answered with 200."""


@dataclass
class SlackDouble:
    """Serve it with `upstream("localhost", double)`.

    `channels` maps an id to its messages, oldest first. `called` is its own record: method, arguments, account (or
    None) and answer of each call. Set `limited` to answer the next so many calls with 429, or
    `limited_from` to answer one so once that many calls were taken.
    """

    tokens: Mapping[str, Account] = field(default_factory=dict)
    channels: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"C0ENG": []})
    archived: frozenset[str] = frozenset()
    limited: int = 0
    limited_from: int | None = None
    retry_after_s: int = 30
    clock: Callable[[], float] = time.time
    called: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        method = urlsplit(seen.target).path.removeprefix("/api/")
        if self.limited_from is not None and len(self.called) >= self.limited_from:
            self.limited, self.limited_from = self.limited + 1, None
        if self.limited > 0:
            self.limited -= 1
            await talk.answer(status="429 Too Many Requests", headers=(("retry-after", str(self.retry_after_s)),))
            return
        account: Account | None = None
        arguments: dict[str, Any] = {}
        try:
            arguments = _arguments(seen)
            account = self._account(seen, arguments)
            answer = {"ok": True, **self._answer(method, arguments, account)}
        except NotOk as error:
            answer = {"ok": False, "error": str(error)}
        told = {"method": method, "arguments": arguments, "by": account and account.user, "answer": answer}
        self.called.append(told)
        kind = ("content-type", "application/json; charset=utf-8")
        await talk.answer(json.dumps(answer).encode(), headers=(kind, ("date", _http_date(self.clock()))))

    def say(self, channel: str, text: str, user: str, *, at: float | None = None) -> str:
        """Let somebody post, and return the message's `ts`."""
        messages = self.channels[channel]
        stamp = max(self.clock() if at is None else at, 0.0)
        ts = f"{stamp:.6f}"
        while any(each["ts"] == ts for each in messages):
            stamp += 0.000001
            ts = f"{stamp:.6f}"
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        messages.append({"type": "message", "user": user, "text": escaped, "ts": ts})
        messages.sort(key=lambda each: float(each["ts"]))
        return ts

    def posts(self) -> list[dict[str, Any]]:
        """Return the arguments of every message that was taken."""
        taken = (each for each in self.called if each["method"] == "chat.postMessage" and each["answer"]["ok"])
        return [each["arguments"] for each in taken]

    def _account(self, seen: Seen, arguments: Mapping[str, Any]) -> Account:
        token = (seen.header("authorization") or "").removeprefix("Bearer ") or str(arguments.get("token", ""))
        if not token:
            raise NotOk("not_authed")
        if token not in self.tokens:
            raise NotOk("invalid_auth")
        return self.tokens[token]

    def _answer(self, method: str, arguments: Mapping[str, Any], account: Account) -> dict[str, Any]:
        if method == "auth.test":
            return {"url": "https://example.com/", "team": "Example", "user": account.user, "user_id": account.user}
        if method in {"chat.postMessage", "chat.update"}:
            _need(account, "chat:write")
            text = arguments.get("text")
            channel = self._channel(arguments)
            if not text:
                raise NotOk("no_text")
            if len(str(text)) > LONGEST_TEXT:
                raise NotOk("msg_too_long")
            if channel in self.archived:
                raise NotOk("is_archived")
            if method == "chat.update":
                return self._update(channel, arguments, account)
            ts = self.say(channel, str(text), account.user)
            message = next(each for each in self.channels[channel] if each["ts"] == ts)
            return {"channel": channel, "ts": ts, "message": message}
        if method == "conversations.history":
            _need(account, "channels:history")
            return self._history(self._channel(arguments), arguments)
        raise NotOk("unknown_method")

    def _channel(self, arguments: Mapping[str, Any]) -> str:
        channel = arguments.get("channel")
        if not isinstance(channel, str) or channel not in self.channels:
            raise NotOk("channel_not_found")
        return channel

    def _update(self, channel: str, arguments: Mapping[str, Any], account: Account) -> dict[str, Any]:
        found = next((each for each in self.channels[channel] if each["ts"] == arguments.get("ts")), None)
        if found is None:
            raise NotOk("message_not_found")
        if found["user"] != account.user:
            raise NotOk("cant_update_message")
        found["text"] = str(arguments["text"])
        return {"channel": channel, "ts": found["ts"], "text": found["text"]}

    def _history(self, channel: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        limit = max(1, min(int(arguments.get("limit", 100)), 999))
        begin = int(arguments.get("cursor") or 0)
        newest = self.channels[channel][::-1]
        more = begin + limit < len(newest)
        page = {"messages": newest[begin : begin + limit], "has_more": more}
        return page | ({"response_metadata": {"next_cursor": str(begin + limit)}} if more else {})


def _arguments(seen: Seen) -> dict[str, Any]:
    """Read the arguments: of the query, and of a body that is a form or JSON."""
    parts = urlsplit(seen.target)
    found: dict[str, Any] = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    kind = (seen.header("content-type") or "").partition(";")[0].strip()
    if kind == "application/json":
        try:
            body = json.loads(seen.body)
        except ValueError:
            raise NotOk("invalid_json") from None
        if not isinstance(body, dict):
            raise NotOk("json_not_object")
        return found | body
    if kind == "application/x-www-form-urlencoded":
        found |= {name: values[-1] for name, values in parse_qs(seen.body.decode()).items()}
    return found


def _need(account: Account, scope: str) -> None:
    if scope not in account.scopes:
        raise NotOk("missing_scope")


def _http_date(at: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(at))
