"""Anthropic's Messages API: https://docs.anthropic.com/en/api/messages and .../messages-streaming."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tickover.testing.model.answer import Answer, pieces
from tickover.testing.model.conversation import Conversation, Json, items_of, runs_of, text_of


def read(body: Json, path: str) -> Conversation:
    del path
    users: list[str] = []
    results = [""]
    system = [text_of(body.get("system"))]
    messages = items_of(body.get("messages"))
    for message in messages:
        content = message.get("content")
        if message.get("role") == "system":  # Claude Code lists agents and skills in such messages
            system.append(text_of(content))
        if message.get("role") != "user":
            continue
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else items_of(content)
        for block in blocks:
            if block.get("type") == "tool_result":
                results.append(text_of(block.get("content")))
            elif block.get("type") == "text":
                users.append(text_of(block.get("text")))
    return Conversation(
        dialect="anthropic",
        model=str(body.get("model", "")),
        stream=bool(body.get("stream")),
        system="\n".join(system),
        prompt=users[0] if users else "",
        users="\n".join(users),
        turn=runs_of(message.get("role") == "assistant" for message in messages),
        tool_result=results[-1],
        tools=tuple(str(tool.get("name") or tool.get("type", "")) for tool in items_of(body.get("tools"))),
    )


def whole(answer: Answer) -> Json:
    content: list[Json] = [{"type": "text", "text": answer.text}] if answer.text else []
    content += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input} for call in answer.calls]
    tokens = answer.tokens
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_sequence": None,
        "stop_reason": answer.stop or ("tool_use" if answer.calls else "end_turn"),
        "usage": {
            "input_tokens": tokens.input,
            "output_tokens": tokens.output,
            "cache_read_input_tokens": tokens.cache_read,
            "cache_creation_input_tokens": tokens.cache_write,
        },
    }


def events(answer: Answer) -> Iterator[Json]:
    message = whole(answer)
    begun = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(message["content"]):
        yield from _block(index, block)
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": answer.tokens.output}}
    yield {"type": "message_stop"}


def _block(index: int, block: Json) -> Iterator[Json]:
    if block["type"] == "text":
        empty: Json = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    else:
        empty = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(json.dumps(block["input"]))]
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def error(kind: str, message: str, status: int) -> Json:
    del status
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_scripted"}
