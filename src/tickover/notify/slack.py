"""Slack, by an incoming webhook or by `chat.postMessage` (docs.slack.dev/reference/methods/chat.postMessage).

Slack answers 200 also when it did not post: `ok` in the body decides. The message is plain text in blocks, so that
nothing in it mentions people, opens links or formats itself.
"""

from __future__ import annotations

import json
from typing import Any, Final

from tickover.core.document import DocumentError, read_json
from tickover.core.notice import Message, SlackTarget, text_of
from tickover.core.text import one_line
from tickover.notify.base import Envelope, NotifyError, Secret
from tickover.notify.post import post

_BLOCK: Final = 2900  # characters; Slack takes 3000
_BLOCKS: Final = 5
_LATER: Final = frozenset({"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"})


class Notifier:
    """Posts to one channel."""

    async def send(self, message: Message, target: SlackTarget, envelope: Envelope, secret: Secret) -> str:
        del envelope
        body = _body(message)
        headers = {"content-type": "application/json; charset=utf-8"}
        if target.webhook is not None:
            address = secret(target.webhook).decode("utf-8", "replace").strip()
            said = await post(address, _json(body), headers)
            if said.strip() != b"ok":
                text = f"the webhook answered 200, but not `ok`: {one_line(said.decode('utf-8', 'replace'))}"
                raise NotifyError("refused", text, again=False)
            return "ok"
        assert target.token is not None
        headers["authorization"] = f"Bearer {secret(target.token).decode('utf-8', 'replace').strip()}"
        said = await post(f"{target.api}/chat.postMessage", _json({**body, "channel": target.channel}), headers)
        return _judge(said)


def _judge(said: bytes) -> str:
    try:
        told: Any = read_json(said)
    except DocumentError:
        told = None
    if isinstance(told, dict) and told.get("ok") is True:
        return f"posted as {one_line(str(told.get('ts', '')), 40)}"
    why = str(told.get("error", "")) if isinstance(told, dict) else ""
    text = f"Slack answered 200 and did not post: {one_line(why, 100) or 'no `ok` in its answer'}"
    raise NotifyError("refused", text, again=why in _LATER)


def _body(message: Message) -> dict[str, Any]:
    text = text_of(message)
    parts = [text[at : at + _BLOCK] for at in range(0, len(text), _BLOCK)][:_BLOCKS]
    blocks = [{"type": "section", "text": {"type": "plain_text", "text": part, "emoji": False}} for part in parts]
    subject = message.subject.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": subject, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=True).encode("ascii")
