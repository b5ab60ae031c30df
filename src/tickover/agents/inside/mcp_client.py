"""A small client of the gateway's MCP face, for `loop.py`: shake hands, list the tools, call one.

It speaks streamable HTTP (https://modelcontextprotocol.io/specification/2025-11-25/basic/transports), as far as the
gateway answers so: a document, or events of which the last is the answer.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

TYPE_CHECKING = False  # as in typing, whose import a start need not pay for
if TYPE_CHECKING:
    from typing import Any

VERSION = "2025-11-25"
LARGEST = 32 << 20  # bytes of an answer
PATIENCE = 900.0  # seconds that an answer may take
SHOWN = 24 << 10  # characters of a result that the model is shown


class McpError(Exception):
    """The server, or the gateway in its place, said no."""


class Server:
    """One server. `tools` are (name, description, schema)."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.url = name, url
        self.tools: list[tuple[str, str, dict[str, Any]]] = []
        self.headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        self.asked = 0

    def connect(self) -> None:
        """Shake hands and learn the tools. Raises McpError."""
        about = {"name": "tickover-loop", "version": "1"}
        hello = self.ask("initialize", protocolVersion=VERSION, capabilities={}, clientInfo=about)
        self.headers["mcp-protocol-version"] = str(hello.get("protocolVersion"))
        self.post({"method": "notifications/initialized"})
        cursor: Any = None
        while True:
            page = self.ask("tools/list", **({} if cursor is None else {"cursor": cursor}))
            for each in page.get("tools", []):
                self.tools.append((str(each["name"]), str(each.get("description", "")), each["inputSchema"]))
            cursor = page.get("nextCursor")
            if not isinstance(cursor, str):
                return

    def call(self, tool: str, arguments: dict[str, Any]) -> tuple[bool, str]:
        """Return whether it went well, and what the model is told."""
        try:
            result = self.ask("tools/call", name=tool, arguments=arguments)
        except McpError as error:
            return False, str(error)
        parts = result.get("content")
        texts = [part_text(each) for each in parts] if isinstance(parts, list) else []
        if not texts and "structuredContent" in result:
            texts = [json.dumps(result["structuredContent"])]
        text = "\n".join(texts)
        if len(text) > SHOWN:
            text = f"{text[:SHOWN]}\n[... {len(text) - SHOWN} characters are left out]"
        return result.get("isError") is not True, text

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Return a result. Raises McpError."""
        self.asked += 1
        messages = self.post({"id": self.asked, "method": method, "params": params})
        answer: dict[str, Any] = next((each for each in messages if each.get("id") == self.asked), {})
        if isinstance(answer.get("result"), dict):
            return answer["result"]  # type: ignore[no-any-return]
        error = answer.get("error")
        raise McpError(f"{self.name}: {error.get('message') if isinstance(error, dict) else 'no answer'}")

    def post(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """Send a message; return what was said. Raises McpError."""
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        request = urllib.request.Request(self.url, body, self.headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                kind = response.headers.get("content-type", "")
                if session := response.headers.get("mcp-session-id"):
                    self.headers["mcp-session-id"] = session
                data = response.read(LARGEST)
        except urllib.error.HTTPError as error:
            raise McpError(f"{self.name}: {error.code} {error.read(2000).decode('utf-8', 'replace')}") from error
        except OSError as error:
            raise McpError(f"{self.name}: {getattr(error, 'reason', '') or error}") from error
        parts = [each[5:] for each in data.splitlines() if each.startswith(b"data:")]
        try:
            found = [json.loads(each) for each in (parts if kind.startswith("text/event-stream") else [data]) if each]
        except (ValueError, RecursionError) as error:
            raise McpError(f"{self.name}: the answer is no JSON") from error
        return [each for each in found if isinstance(each, dict)]


def part_text(part: Any) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return part["text"]  # type: ignore[no-any-return]
    if isinstance(part, dict) and isinstance(part.get("resource"), dict):
        return json.dumps(part["resource"])[:SHOWN]
    return f"[{part.get('type') if isinstance(part, dict) else 'something'} that cannot be shown]"


def named(server: str, tool: str) -> str:
    """Return the name by which the model calls a tool: models' APIs know letters, digits, _ and - only."""
    return re.sub("[^A-Za-z0-9_-]", "_", f"mcp__{server}__{tool}")[:128]
