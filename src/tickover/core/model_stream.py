"""What a model's answer took, read as it passes: one JSON document, or events (server-sent), cut anywhere.

Bounded and never raising: an event or document that is too long, or is none, is passed over, and then what was seen of
the text is what an estimate is made of.
"""

from __future__ import annotations

from typing import Any, Final

from tickover.core.document import DocumentError, read_json
from tickover.core.metering import Dialect
from tickover.core.price import Tokens

LONGEST: Final = 8 << 20
"""Bytes of one event, or of a whole document, that are held."""
BYTES_PER_TOKEN: Final = 4
"""Of an answer's text, where nobody says how many tokens it had."""
_LARGEST: Final = 10**9
_SPACE: Final = b" \t\r\n"


class Events:
    """Cuts a stream of server-sent events into their data (WHATWG HTML, section 9.2.6)."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the data of each event that is whole now."""
        found: list[bytes] = []
        if not data:
            return found
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
        self._after_cr = data[-1:] == b"\r"
        *lines, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._hold(line)
            self._end_line(found)
        self._hold(rest)
        return found

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= LONGEST:
            self._line += piece

    def _end_line(self, found: list[bytes]) -> None:
        line = bytes(self._line)
        self._line.clear()
        if line:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            return
        if self._data and self._size <= LONGEST:
            found.append(b"\n".join(self._data))
        self._data.clear()
        self._size = 0


class UsageReader:
    """Reads one answer. `tokens` is what it says that it took, as far as it came; None before it said anything.

    `complete`: nothing of that is still to come. `text` counts the characters that the model wrote, as far as seen.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._fields: dict[str, int] = {}
        self._events: Events | None = None
        self._document: bytearray | None = None
        self._size = 0
        self.complete = False
        self.model = ""
        self.text = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        if self._events is None and self._document is None:
            begun = data.removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE)
            if not begun:
                return
            if begun[:1] in {b"{", b"["}:
                self._document = bytearray()
            else:
                self._events = Events()
        if self._document is not None:
            self._size += len(data)
            if self._size <= LONGEST:
                self._document += data
        elif self._events is not None:
            for event in self._events.feed(data):
                self._read(event)

    def finish(self) -> None:
        """End the body."""
        if self._document is None:
            return
        if self._size <= LONGEST:
            self._read(bytes(self._document))
        elif not self.text:
            self.text = self._size
        self._document = bytearray()

    @property
    def written(self) -> int:
        """An estimate of the tokens that the model wrote."""
        return max(self.text // BYTES_PER_TOKEN, self._fields.get("output", 0))

    @property
    def tokens(self) -> Tokens | None:
        """What the answer says."""
        if not self._fields:
            return None
        get = self._fields.get
        prompt, read = get("prompt", 0), get("cache_read", 0)
        if self._dialect is Dialect.ANTHROPIC:  # says what came from a cache beside the rest; the others say it within
            return Tokens(prompt, get("output", 0), read, get("cache_write", 0))
        return Tokens(max(prompt - read, 0), get("output", 0) + get("thoughts", 0), min(read, prompt))

    def _read(self, text: bytes) -> None:
        if text.strip() == b"[DONE]":
            return
        try:
            found = read_json(text)
        except DocumentError:
            return
        for each in found if isinstance(found, list) else (found,):
            if isinstance(each, dict):
                _READERS[self._dialect](self, each)

    # The dialects.

    def anthropic(self, said: dict[str, Any]) -> None:
        match said.get("type"):
            case "message_start":
                message = _dict(said.get("message"))
                self._says(message, "model")
                self._anthropic_usage(message)
            case "message_delta":
                self._anthropic_usage(said)
            case "message_stop":
                self.complete = bool(self._fields)
            case "message":
                self._says(said, "model")
                self._anthropic_usage(said)
                self._wrote(said.get("content"))
                self.complete = bool(self._fields)
            case "content_block_delta":
                self._wrote(said.get("delta"))

    def _anthropic_usage(self, said: dict[str, Any]) -> None:
        self._take(
            _dict(said.get("usage")), prompt="input_tokens", output="output_tokens",
            cache_read="cache_read_input_tokens", cache_write="cache_creation_input_tokens",
        )  # fmt: skip

    def chat(self, said: dict[str, Any]) -> None:
        self._says(said, "model")
        self._wrote([_dict(each).get("delta", _dict(each).get("message")) for each in _list(said.get("choices"))])
        usage = _dict(said.get("usage"))
        self._take(usage, prompt="prompt_tokens", output="completion_tokens")
        self._take(_dict(usage.get("prompt_tokens_details")), cache_read="cached_tokens")
        self.complete = self.complete or bool(self._fields)

    def responses(self, said: dict[str, Any]) -> None:
        kind = said.get("type")
        if isinstance(kind, str):
            if kind.endswith(".delta"):
                self._wrote(said.get("delta"))
            if kind not in {"response.completed", "response.incomplete", "response.failed"}:
                return
        response = _dict(said.get("response")) if isinstance(kind, str) else said
        self._says(response, "model")
        usage = _dict(response.get("usage"))
        self._take(usage, prompt="input_tokens", output="output_tokens")
        self._take(_dict(usage.get("input_tokens_details")), cache_read="cached_tokens")
        if not isinstance(kind, str):
            self._wrote(response.get("output"))
        self.complete = bool(self._fields)

    def gemini(self, said: dict[str, Any]) -> None:
        self._says(said, "modelVersion")
        self._wrote([_dict(each).get("content") for each in _list(said.get("candidates"))])
        usage = _dict(said.get("usageMetadata"))
        self._take(usage, output="candidatesTokenCount", cache_read="cachedContentTokenCount")
        self._take(usage, thoughts="thoughtsTokenCount")
        prompt, tools = _count(usage.get("promptTokenCount")), _count(usage.get("toolUsePromptTokenCount"))
        if prompt is not None:
            self._fields["prompt"] = prompt + (tools or 0)
        ended = any(_dict(each).get("finishReason") for each in _list(said.get("candidates")))
        self.complete = self.complete or (ended and bool(self._fields))

    def _says(self, said: dict[str, Any], key: str) -> None:
        if isinstance(model := said.get(key), str):
            self.model = model[:200]

    def _take(self, usage: dict[str, Any], **names: str) -> None:
        """Keep the newest word on each count."""
        for field, name in names.items():
            if (count := _count(usage.get(name))) is not None:
                self._fields[field] = count

    def _wrote(self, value: Any) -> None:
        """Count the text in a part of an answer, however it is laid out."""
        level = [value]
        while level:
            inner = level.pop()
            if isinstance(inner, str):
                self.text += len(inner)
            elif isinstance(inner, dict):
                level += [each for key, each in inner.items() if key not in {"type", "id", "role"}]
            elif isinstance(inner, list):
                level += inner


_READERS: Final = {
    Dialect.ANTHROPIC: UsageReader.anthropic,
    Dialect.OPENAI_CHAT: UsageReader.chat,
    Dialect.OPENAI_RESPONSES: UsageReader.responses,
    Dialect.GEMINI: UsageReader.gemini,
}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else None
