"""OpenAI's Chat Completions API: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tickover.testing.model.answer import CREATED, Answer, pieces
from tickover.testing.model.conversation import Conversation, Json, items_of, runs_of, text_of


def read(body: Json, path: str) -> Conversation:
    del path
    messages = items_of(body.get("messages"))
    users = [text_of(message.get("content")) for message in messages if message.get("role") == "user"]
    system = [text_of(each.get("content")) for each in messages if each.get("role") in {"system", "developer"}]
    results = [text_of(message.get("content")) for message in messages if message.get("role") == "tool"]
    tools = [tool["function"] for tool in items_of(body.get("tools")) if isinstance(tool.get("function"), dict)]
    return Conversation(
        dialect="chat",
        model=str(body.get("model", "")),
        stream=bool(body.get("stream")),
        system="\n".join(system),
        prompt=users[0] if users else "",
        users="\n".join(users),
        turn=runs_of(message.get("role") == "assistant" for message in messages),
        tool_result=results[-1] if results else "",
        tools=tuple(str(tool.get("name", "")) for tool in tools),
    )


def whole(answer: Answer) -> Json:
    message: Json = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        message["tool_calls"] = _calls(answer)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
    return {**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


def events(answer: Answer) -> Iterator[Json]:
    def chunk(delta: Json, finish: str | None = None, **more: Any) -> Json:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return {**_head(answer, "chat.completion.chunk"), "choices": choices, **more}

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(answer.text) if answer.text else ():
        yield chunk({"content": piece})
    for index, call in enumerate(_calls(answer)):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, _finish(answer))
    yield {**chunk({}), "choices": [], "usage": _usage(answer)}


def _head(answer: Answer, kind: str) -> Json:
    return {"id": answer.id, "object": kind, "created": CREATED, "model": answer.model}


def _finish(answer: Answer) -> str:
    return answer.stop or ("tool_calls" if answer.calls else "stop")


def _calls(answer: Answer) -> list[Json]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": json.dumps(call.input)}}
        for call in answer.calls
    ]


def _usage(answer: Answer) -> Json:
    tokens = answer.tokens
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
    }


def error(kind: str, message: str, status: int) -> Json:
    del status
    return {"error": {"message": message, "type": kind, "code": kind, "param": None}}
