"""OpenAI's Responses API: https://platform.openai.com/docs/api-reference/responses and .../responses-streaming."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tickover.testing.model.answer import CREATED, Answer, pieces
from tickover.testing.model.conversation import Conversation, Json, items_of, runs_of, text_of
from tickover.testing.model.openai_chat import error

__all__ = ["error", "events", "read", "whole"]

_BY_ASSISTANT = {"function_call", "custom_tool_call", "local_shell_call", "reasoning"}


def read(body: Json, path: str) -> Conversation:
    del path
    said: Any = body.get("input")
    items = [{"type": "message", "role": "user", "content": said}] if isinstance(said, str) else items_of(said)
    users = [text_of(item.get("content")) for item in items if item.get("role") == "user"]
    system = [text_of(item.get("content")) for item in items if item.get("role") in {"system", "developer"}]
    results = [text_of(item.get("output")) for item in items if str(item.get("type")).endswith("_output")]
    return Conversation(
        dialect="responses",
        model=str(body.get("model", "")),
        stream=bool(body.get("stream")),
        system="\n".join([text_of(body.get("instructions")), *system]),
        prompt=users[0] if users else "",
        users="\n".join(users),
        turn=runs_of(item.get("role") == "assistant" or item.get("type") in _BY_ASSISTANT for item in items),
        tool_result=results[-1] if results else "",
        tools=tuple(str(tool.get("name") or tool.get("type", "")) for tool in items_of(body.get("tools"))),
    )


def whole(answer: Answer) -> Json:
    return _response(answer, "completed", _items(answer))


def events(answer: Answer) -> Iterator[Json]:
    items = _items(answer)
    yield {"type": "response.created", "response": _response(answer, "in_progress", None)}
    for index, item in enumerate(items):
        yield from _message(index, item) if item["type"] == "message" else _call(index, item)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": _response(answer, "completed", items)}


def _message(index: int, item: Json) -> Iterator[Json]:
    at = {"item_id": item["id"], "output_index": index, "content_index": 0}
    text = item["content"][0]["text"]
    empty = {**item, "status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": index, "item": empty}
    part = {"type": "output_text", "text": "", "annotations": []}
    yield {"type": "response.content_part.added", **at, "part": part}
    for piece in pieces(text):
        yield {"type": "response.output_text.delta", **at, "delta": piece}
    yield {"type": "response.output_text.done", **at, "text": text}
    yield {"type": "response.content_part.done", **at, "part": item["content"][0]}


def _call(index: int, item: Json) -> Iterator[Json]:
    free = item["type"] == "custom_tool_call"
    key, name = ("input", "custom_tool_call_input") if free else ("arguments", "function_call_arguments")
    at = {"item_id": item["id"], "output_index": index}
    empty = {**item, "status": "in_progress", key: ""}
    yield {"type": "response.output_item.added", "output_index": index, "item": empty}
    yield {"type": f"response.{name}.delta", **at, "delta": item[key]}
    yield {"type": f"response.{name}.done", **at, key: item[key]}


def _items(answer: Answer) -> list[Json]:
    items: list[Json] = []
    if answer.text:
        content = [{"type": "output_text", "text": answer.text, "annotations": []}]
        items.append(
            {"type": "message", "id": answer.id, "role": "assistant", "status": "completed", "content": content}
        )
    for call in answer.calls:
        head = {"call_id": call.id, "name": call.name, "status": "completed"}
        if isinstance(call.input, str):  # a free-form tool takes plain text
            items.append({"type": "custom_tool_call", "id": f"ctc_{call.id}", **head, "input": call.input})
        else:
            arguments = json.dumps(call.input)
            items.append({"type": "function_call", "id": f"fc_{call.id}", **head, "arguments": arguments})
    return items


def _response(answer: Answer, status: str, items: list[Json] | None) -> Json:
    tokens = answer.tokens
    usage = {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "input_tokens_details": {"cached_tokens": tokens.cache_read},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "model": answer.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "output": items or [],
        "usage": None if items is None else usage,
    }
