"""Gemini's API: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tickover.testing.model.answer import Answer
from tickover.testing.model.conversation import Conversation, Json, items_of, runs_of, text_of


def read(body: Json, path: str) -> Conversation:
    contents = items_of(body.get("contents"))
    users: list[str] = []
    results = [""]
    for content in contents:
        for part in items_of(content.get("parts")):
            answered = part.get("functionResponse")
            if isinstance(answered, dict):
                response = answered.get("response")
                results.append(text_of(response.get("output", response) if isinstance(response, dict) else response))
            elif content.get("role") != "model" and "text" in part:
                users.append(text_of(part["text"]))
    system = body.get("systemInstruction")
    offered = [each for tool in items_of(body.get("tools")) for each in items_of(tool.get("functionDeclarations"))]
    return Conversation(
        dialect="gemini",
        model=re.sub(r".*/models/([^:]+):.*", r"\1", path),
        stream="streamGenerate" in path,
        system=text_of(system.get("parts")) if isinstance(system, dict) else "",
        prompt=users[0] if users else "",
        users="\n".join(users),
        turn=runs_of(content.get("role") == "model" for content in contents),
        tool_result=results[-1],
        tools=tuple(str(each.get("name", "")) for each in offered),
    )


def whole(answer: Answer) -> Json:
    parts: list[Json] = [{"text": answer.text}] if answer.text else []
    parts += [{"functionCall": {"id": call.id, "name": call.name, "args": call.input}} for call in answer.calls]
    tokens = answer.tokens
    candidate = {"index": 0, "finishReason": answer.stop or "STOP", "content": {"role": "model", "parts": parts}}
    return {
        "candidates": [candidate],
        "modelVersion": answer.model,
        "responseId": answer.id,
        "usageMetadata": {
            "promptTokenCount": tokens.input,
            "candidatesTokenCount": tokens.output,
            "cachedContentTokenCount": tokens.cache_read,
            "totalTokenCount": tokens.input + tokens.output,
        },
    }


def events(answer: Answer) -> Iterator[Json]:
    yield whole(answer)


def error(kind: str, message: str, status: int) -> Json:
    return {"error": {"code": status, "message": message, "status": kind}}
