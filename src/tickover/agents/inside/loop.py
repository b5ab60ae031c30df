"""A small loop: ask a model, run the tools it calls, tell it what came of them, until it calls none.

usage: python3 -I loop.py LOOP.json

LOOP.json: {wire: "anthropic" | "openai", url, model, system, prompt (a file), cwd, schema, bell (argv), servers: {NAME:
URL}, own: {NAME: URL}}; those are MCP servers, the tools of `own` keep their names. Every line on stdout is one JSON
object: {"tickover": "servers", states}, {"tickover": "ready", model, tools}, {"tickover": "text", text}, {"tickover":
"call", id, tool, arguments}, {"tickover": "result", id, ok, text}, {"tickover": "usage", input, output}, {"tickover":
"retry", status}, {"tickover": "returned", text}, at last {"tickover": "end", why, message, status}. `why` is done,
turns, refused, length, error. Exits with 0 for done, else 1. A tool may write such lines itself; nobody believes them.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TYPE_CHECKING = False  # as in typing, whose import a start need not pay for
if TYPE_CHECKING:
    from typing import IO, Any

TURNS = 200
ANSWER = 8192  # tokens of one answer
LARGEST = 32 << 20  # bytes of an answer
SHOWN = 24 << 10  # bytes of a tool's output that the model is shown, from both ends
PATIENCE = 600.0  # seconds that an answer may take
PAUSES = (1.0, 5.0)  # seconds before another attempt
LONGEST_PAUSE = 30.0
STOPS = {
    "refusal": "refused",
    "content_filter": "refused",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "length": "length",
}
AGAIN = {408, 429, 500, 502, 503, 504, 529}
GO_ON = 2  # what the bell's command exits with, if the agent may not stop yet
COMMAND = 120.0  # seconds that a command may take, unless it asks for more
LONGEST_COMMAND = 3600.0


class StopError(Exception):
    """The loop cannot go on."""

    def __init__(self, why: str, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.why, self.status = why, status


class ToolError(Exception):
    """A tool could not do it; the model is told why."""


def say(**message: object) -> None:
    """Write one line, whole."""
    rest = memoryview(json.dumps(message).encode() + b"\n")
    while rest:
        rest = rest[os.write(1, rest) :]


# -- tools -------------------------------------------------------------------------------------------------------------


def both_ends(file: IO[bytes]) -> str:
    """Return a file as text; of a long one only the beginning and the end are read."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= SHOWN:
        return file.read(SHOWN).decode("utf-8", "replace")
    data = file.read(SHOWN // 2) + f"\n[... {size - SHOWN} bytes are left out ...]\n".encode()
    file.seek(size - SHOWN // 2)
    return (data + file.read(SHOWN // 2)).decode("utf-8", "replace")


def text_of(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or "\0" in value:
        raise ToolError(f"`{name}` must be text")
    return value


def number_of(given: dict[str, Any], name: str, default: float) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 40:
        raise ToolError(f"`{name}` must be a number")
    return value


class Tools:
    """What the model may call. They do what any process in this sandbox may do, and no more."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.cwd: str = task["cwd"]
        self.report_file: str = task["report"]
        self.output_file: str = task["output"]
        self.defined: dict[str, tuple[str, dict[str, Any]]] = {
            "bash": (
                "Run a command with bash in the workspace and return its output. Each call is a shell of its own.",
                shape(command="string", timeout_seconds="number?"),
            ),
            "read": (
                "Read a file as text, from line `offset` on (the first is 1), at most `limit` lines.",
                shape(path="string", offset="integer?", limit="integer?"),
            ),
            "write": ("Write a file; what was there is replaced.", shape(path="string", content="string")),
            "report": (
                "Say how the task ended: done; noop, if there was nothing to do; failed. Checks decide what is true.",
                {
                    "type": "object",
                    "properties": {
                        "status": {"type": "string", "enum": ["done", "noop", "failed"]},
                        "summary": {"type": "string"},
                    },
                    "required": ["status", "summary"],
                },
            ),
        }
        if task.get("schema") is not None:
            wanted = {"type": "object", "properties": {"result": task["schema"]}, "required": ["result"]}
            self.defined["output"] = ("Hand in the result of the task. Call it once, at the end.", wanted)
        self.handed_in = task.get("schema") is None
        self.remote: dict[str, Any] = {}

    def connect(self, servers: dict[str, str], *, own: bool = False) -> dict[str, str]:
        """Learn the tools of these MCP servers; return how each connected."""
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        mcp: Any = importlib.import_module("mcp_client")  # it lies beside us, and only where there are servers
        states = {}
        for name, url in servers.items():
            server = mcp.Server(name, url)
            try:
                server.connect()
                states[name] = "connected"
            except (mcp.McpError, KeyError, TypeError, AttributeError) as error:
                states[name] = f"failed: {error}"[:500]
            for tool, says, schema in server.tools:
                known = tool if own else mcp.named(name, tool)
                self.remote[known] = (server, tool)
                self.defined[known] = (says, schema)
        return states

    def call(self, name: str, given: Any) -> tuple[bool, str]:
        """Return whether it went well, and what the model is told."""
        if name not in self.defined:
            return False, f"there is no tool `{name}`"
        if not isinstance(given, dict):
            return False, "the arguments are no JSON object"
        if name in self.remote:
            server, tool = self.remote[name]
            ok, text = server.call(tool, given)
            return bool(ok), str(text)
        try:
            return getattr(self, name)(given)  # type: ignore[no-any-return]
        except ToolError as error:
            return False, str(error)
        except OSError as error:
            return False, f"{error.filename or name}: {error.strerror}"

    def bash(self, given: dict[str, Any]) -> tuple[bool, str]:
        limit = min(number_of(given, "timeout_seconds", COMMAND), LONGEST_COMMAND)
        with tempfile.TemporaryFile() as output:
            child = subprocess.Popen(
                ["bash", "-c", text_of(given, "command")],
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            late = False
            try:
                code = child.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                late, code = True, child.wait()
            told = both_ends(output)
        if late:
            return False, f"stopped after {limit:g} seconds\n{told}"
        return code == 0, told if code == 0 else f"exit code {code if code > 0 else 128 - code}\n{told}"

    def read(self, given: dict[str, Any]) -> tuple[bool, str]:
        first = max(1, int(number_of(given, "offset", 1)))
        most = int(number_of(given, "limit", 2000))
        lines, size = [], 0
        with open(os.path.join(self.cwd, text_of(given, "path")), "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(SHOWN), b""), 1):
                if number >= first + most or size > SHOWN:
                    lines.append(f"[the file goes on at line {number}]\n".encode())
                    break
                if number >= first:
                    lines.append(line)
                    size += len(line)
        return True, b"".join(lines).decode("utf-8", "replace")

    def write(self, given: dict[str, Any]) -> tuple[bool, str]:
        path = os.path.join(self.cwd, text_of(given, "path"))
        content = text_of(given, "content").encode("utf-8", "replace")
        put(path, content)
        return True, f"{len(content)} bytes are in {path}"

    def report(self, given: dict[str, Any]) -> tuple[bool, str]:
        if given.get("status") not in {"done", "noop", "failed"}:
            raise ToolError("`status` is one of done, noop, failed")
        words = {"status": given["status"], "summary": text_of(given, "summary")}
        put(self.report_file, json.dumps(words).encode() + b"\n")
        return True, "noted"

    def output(self, given: dict[str, Any]) -> tuple[bool, str]:
        if "result" not in given:
            raise ToolError("`result` is missing")
        put(self.output_file, json.dumps(given["result"]).encode() + b"\n")
        self.handed_in = True
        return True, "taken"


def put(path: str, content: bytes) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def shape(**fields: str) -> dict[str, Any]:
    """Return a JSON Schema; a type that ends in ? is optional."""
    properties = {name: {"type": kind.rstrip("?")} for name, kind in fields.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name, kind in fields.items() if not kind.endswith("?")],
    }


# -- wires -------------------------------------------------------------------------------------------------------------


class Reply:
    """One answer of a model. `calls` are (id, tool, arguments)."""

    def __init__(self, text: str, calls: list[tuple[str, str, Any]], stop: str, used: tuple[int, int]) -> None:
        self.text, self.calls, self.stop, self.used = text, calls, stop, used


class Anthropic:
    """Anthropic's Messages API: https://docs.anthropic.com/en/api/messages."""

    path = "/v1/messages"

    def __init__(self, task: dict[str, Any], tools: Tools, prompt: str) -> None:
        named = [{"name": n, "description": d, "input_schema": s} for n, (d, s) in tools.defined.items()]
        self.messages: list[Any] = [{"role": "user", "content": prompt}]
        self.body = {"model": task["model"], "max_tokens": ANSWER, "tools": named}
        if task["system"]:
            self.body["system"] = task["system"]
        self.headers = {"x-api-key": task["key"], "anthropic-version": "2023-06-01"}

    def request(self) -> dict[str, Any]:
        return {**self.body, "messages": self.messages}

    def take(self, answer: dict[str, Any]) -> Reply:
        blocks = [each for each in answer["content"] if isinstance(each, dict)]
        self.messages.append({"role": "assistant", "content": blocks})
        text = "".join(str(each.get("text", "")) for each in blocks if each.get("type") == "text")
        calls = [(str(e["id"]), str(e["name"]), e.get("input")) for e in blocks if e.get("type") == "tool_use"]
        usage = answer.get("usage") or {}
        read = sum(int(usage.get(f"{kind}input_tokens") or 0) for kind in ("", "cache_read_", "cache_creation_"))
        return Reply(text, calls, str(answer.get("stop_reason")), (read, int(usage.get("output_tokens") or 0)))

    def tell(self, results: list[tuple[str, bool, str]]) -> None:
        content = [
            {"type": "tool_result", "tool_use_id": name, "content": text, "is_error": not ok}
            for name, ok, text in results
        ]
        self.messages.append({"role": "user", "content": content})

    def hear(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})


class OpenAI:
    """OpenAI's Chat Completions: https://platform.openai.com/docs/api-reference/chat."""

    path = "/chat/completions"

    def __init__(self, task: dict[str, Any], tools: Tools, prompt: str) -> None:
        functions = [{"name": n, "description": d, "parameters": s} for n, (d, s) in tools.defined.items()]
        system = [{"role": "system", "content": task["system"]}] if task["system"] else []
        self.messages: list[Any] = [*system, {"role": "user", "content": prompt}]
        self.body = {"model": task["model"], "tools": [{"type": "function", "function": each} for each in functions]}
        self.headers = {"authorization": f"Bearer {task['key']}"}

    def request(self) -> dict[str, Any]:
        return {**self.body, "messages": self.messages}

    def take(self, answer: dict[str, Any]) -> Reply:
        choice = answer["choices"][0]
        message = choice["message"]
        kept = {"role": "assistant", "content": message.get("content")}
        if message.get("tool_calls"):
            kept["tool_calls"] = message["tool_calls"]
        self.messages.append(kept)
        calls = []
        for each in message.get("tool_calls") or ():
            arguments: Any = each["function"].get("arguments") or "{}"
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                arguments = json.loads(arguments)
            calls.append((str(each["id"]), str(each["function"]["name"]), arguments))
        usage = answer.get("usage") or {}
        used = (int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))
        return Reply(str(message.get("content") or ""), calls, str(choice.get("finish_reason")), used)

    def tell(self, results: list[tuple[str, bool, str]]) -> None:
        for name, ok, text in results:
            content = text if ok else f"[failed] {text}"
            self.messages.append({"role": "tool", "tool_call_id": name, "content": content})

    def hear(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})


# -- the loop ----------------------------------------------------------------------------------------------------------


class Here(urllib.request.HTTPRedirectHandler):
    """An answer that sends us elsewhere is none: the request has a key in it."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask(url: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    """Return a model's answer; ask again where that may help. Raises StopError."""
    data = json.dumps(body).encode()
    headers = {**headers, "content-type": "application/json", "user-agent": "tickover-loop/1"}
    for pause in (*PAUSES, None):
        status, wait = 0, pause
        try:
            return once(urllib.request.Request(url, data, headers))
        except urllib.error.HTTPError as error:
            status, why = error.code, f"{error.code} {error.read(2000).decode('utf-8', 'replace')}"
            after = error.headers.get("retry-after", "")
            if wait is not None and after.isascii() and after.isdigit():
                wait = min(float(after[:9]), LONGEST_PAUSE)
        except (OSError, http.client.HTTPException) as error:
            why = f"no answer: {getattr(error, 'reason', '') or error or type(error).__name__}"
        if wait is None or (status and status not in AGAIN):
            raise StopError("error", why[:1000], status)
        say(tickover="retry", status=status, why=why[:200])
        time.sleep(wait)  # noqa: TID251 - nobody else waits here
    raise AssertionError


def once(request: urllib.request.Request) -> dict[str, Any]:
    with urllib.request.build_opener(Here).open(request, timeout=PATIENCE) as response:
        raw = response.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise StopError("error", f"the model's answer has more than {LARGEST} bytes")
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise StopError("error", "the model's answer is no JSON object")
    return answer


def returned(bell: list[str] | None) -> str:
    """Ask whether it may stop: return what the model is told, nothing if it may, or if nobody answers."""
    if bell is None:
        return ""
    rung = subprocess.run(bell, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    return rung.stderr.decode("utf-8", "replace") if rung.returncode == GO_ON else ""


def work(task: dict[str, Any]) -> None:
    """Go round until the model calls no tool and may stop. Raises StopError."""
    with open(task["prompt"], encoding="utf-8", errors="replace") as file:
        prompt = file.read()
    tools = Tools(task)
    if task.get("servers"):
        say(tickover="servers", states=tools.connect(task["servers"]))
    if task.get("own"):
        tools.connect(task["own"], own=True)
    wire: Any = {"anthropic": Anthropic, "openai": OpenAI}[task["wire"]](task, tools, prompt)
    url = task["url"].rstrip("/") + wire.path
    say(tickover="ready", model=task["model"], tools=list(tools.defined))
    for _ in range(TURNS):
        try:
            reply: Reply = wire.take(ask(url, wire.headers, wire.request()))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise StopError("error", f"the model's answer is malformed: {type(error).__name__} {error}") from error
        say(tickover="usage", input=reply.used[0], output=reply.used[1])
        if reply.text:
            say(tickover="text", text=reply.text)
        if reply.stop in STOPS:
            raise StopError(STOPS[reply.stop], f"the model stopped: {reply.stop}")
        if not reply.calls:
            if not tools.handed_in:
                raise StopError("error", "it gave no result of the wanted schema")
            if not (told := returned(task.get("bell"))):
                return
            say(tickover="returned", text=told)
            wire.hear(told)
            continue
        results = []
        for name, tool, arguments in reply.calls:
            say(tickover="call", id=name, tool=tool, arguments=arguments)
            ok, text = tools.call(tool, arguments)
            say(tickover="result", id=name, ok=ok, text=text)
            results.append((name, ok, text))
        wire.tell(results)
    raise StopError("turns", f"it was not done after {TURNS} answers")


def main(path: str) -> int:
    """Work; return the exit code."""
    with open(path, encoding="utf-8") as file:
        task = json.load(file)
    try:
        work(task)
    except StopError as error:
        say(tickover="end", why=error.why, message=str(error), status=error.status)
        return 1
    say(tickover="end", why="done", message="", status=0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
