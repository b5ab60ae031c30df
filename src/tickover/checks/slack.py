"""The check `slack`: a message of this run stands in a channel, read back from the channel itself.

`conversations.history` (https://docs.slack.dev/reference/methods/conversations.history) answers 200 whatever happens:
only `ok` says whether it was read. Messages in threads are not in it. `ts` is the server's clock, so the begin of the
run is taken by that clock, too; what stood there before the agent began is found by the baseline. Only the message that
was found is kept as evidence: what else stands in the channel is nobody's here.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import JsonValue

from tickover.checks.base import Answer, Hands, HttpAnswer, verdict
from tickover.core.check import SlackCheck
from tickover.core.document import DocumentError, read_json
from tickover.core.evidence import CheckResult
from tickover.core.text import one_line

SLACK_S: Final = 2.0
"""How much earlier than the run's begin a message may be: a `Date` has whole seconds. The baseline sees those."""
PAGES: Final = 10
_PAGE: Final = 200
_HISTORY: Final = "/conversations.history"


class Check:
    """Reads the channel from the run's begin on, newest message first."""

    kind: ClassVar[str] = "slack"

    async def evaluate(self, definition: SlackCheck, hands: Hands) -> Answer:
        looked, cursor = 0, ""
        for _ in range(PAGES):
            query = {"channel": definition.channel, "limit": str(_PAGE), **({"cursor": cursor} if cursor else {})}
            answer = await hands.read_connector("slack", _HISTORY, query)
            page = _page(answer)
            if isinstance(page, str):
                return Answer(CheckResult.ERROR, f"{definition.channel} cannot be read: {page}", {}, answer.body)
            since = hands.began + answer.ahead_s - SLACK_S
            messages = list(_messages(page))
            recent = [each for each in messages if each["at"] >= since]
            looked += len(recent)
            for message in recent:
                if _is_meant(definition, message):
                    return _found(definition, message)
            cursor = _cursor(page)
            if not cursor or len(recent) < len(messages):
                detail: dict[str, JsonValue] = {"channel": definition.channel, "messages": looked}
                text = f"no message of this run{_like(definition)} stands in {definition.channel}"
                return Answer(verdict(holds=False), f"{text} ({looked} since it began)", detail)
        text = (
            f"{definition.channel} has more than {looked} messages since the run began, none of them{_like(definition)}"
        )
        return Answer(CheckResult.ERROR, text)


def _page(answer: HttpAnswer) -> Mapping[str, Any] | str:
    """Return the page, or why there is none."""
    if answer.status == 429:
        return f"too much was asked of it, it says to wait {one_line(answer.headers.get('retry-after', 'some'), 10)} s"
    if answer.status != 200:
        return f"it answers {answer.status}"
    if answer.truncated:
        return "its answer is too long"
    try:
        page = read_json(answer.body)
    except DocumentError as error:
        return f"its answer is no JSON: {error}"
    if not isinstance(page, dict):
        return "its answer is no object"
    if page.get("ok") is not True:
        return one_line(str(page.get("error", "it is not ok, and says no more")), 80)
    return page if isinstance(page.get("messages"), list) else "its answer has no messages"


def _messages(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for each in page["messages"]:
        if not isinstance(each, dict) or not isinstance(each.get("ts"), str):
            continue
        try:
            at = float(each["ts"])
        except ValueError:
            continue
        if math.isfinite(at):
            text = each.get("text")
            yield {"at": at, "ts": each["ts"], "by": each.get("user") or each.get("bot_id"), "raw": each} | {
                "text": html.unescape(text) if isinstance(text, str) else ""
            }


def _is_meant(definition: SlackCheck, message: Mapping[str, Any]) -> bool:
    """Say whether it is by whom it should be, and holds what it should."""
    if definition.by is not None and definition.by not in (message["raw"].get("user"), message["raw"].get("bot_id")):
        return False
    return definition.contains is None or definition.contains in message["text"]


def _cursor(page: Mapping[str, Any]) -> str:
    more = page.get("response_metadata")
    cursor = more.get("next_cursor") if isinstance(more, dict) and page.get("has_more") is True else ""
    return cursor if isinstance(cursor, str) else ""


def _found(definition: SlackCheck, message: Mapping[str, Any]) -> Answer:
    by = one_line(str(message["by"] or "nobody named"), 40)
    detail: dict[str, JsonValue] = {"channel": definition.channel, "ts": one_line(message["ts"], 40), "by": by}
    author = "" if definition.by else f", by {by}"
    text = f"message{_like(definition)} read back from {definition.channel}{author}"
    return Answer(CheckResult.PASS, text, detail, json.dumps(message["raw"]).encode())


def _like(definition: SlackCheck) -> str:
    text = f" with “{one_line(definition.contains, 60)}”" if definition.contains else ""
    return text + (f" by {one_line(definition.by, 40)}" if definition.by else "")
