"""Drive an agent that speaks the Agent Client Protocol, version 1: one session, one prompt, until it may stop.

usage: python3 -I acp.py ACP.json

ACP.json: {argv, cwd, prompt (a file), bell (a command), servers: {NAME: URL}, own: {NAME: URL}}; those are MCP
servers, and an agent that speaks to none over HTTP does without our own. Messages are JSON-RPC 2.0, a line each, on the
agent's stdin and stdout; its stderr is ours (https://agentclientprotocol.com/protocol/overview). What is said on stdout
are the lines of `loop.py`: servers, ready, text, call, result, returned, end. The agent may do what it asks to do: the
sandbox and the gateway are what holds.
Exits with 0 if its turn ended by itself, else 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

TYPE_CHECKING = False  # as in typing, whose import a start need not pay for
if TYPE_CHECKING:
    from typing import IO, Any

LONGEST = 32 << 20  # bytes of a line
GO_ON = 2  # what the bell's command exits with, if the agent may not stop yet
FAREWELL = 5.0  # seconds that the agent has to end after its turn
STOPS = {"refusal": "refused", "max_tokens": "length", "max_turn_requests": "turns", "cancelled": "cancelled"}
WORDS = 1 << 14  # characters of text that are gathered before they are said


class StopError(Exception):
    """The turn did not end well."""

    def __init__(self, why: str, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.why, self.status = why, status


def say(**message: object) -> None:
    """Write one line, whole."""
    rest = memoryview(json.dumps(message).encode() + b"\n")
    while rest:
        rest = rest[os.write(1, rest) :]


class Client:
    """Our side of the conversation: it asks one thing at a time, and answers in between."""

    def __init__(self, reads: IO[bytes], writes: IO[bytes]) -> None:
        self.reads, self.writes = reads, writes
        self.asked = 0
        self.text = ""
        self.called: set[str] = set()
        self.open: set[str] = set()

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Return the answer. Raises StopError."""
        self.asked += 1
        self.send(id=self.asked, method=method, params=params)
        while True:
            message = self.receive(method)
            if "method" in message:
                self.hear(message)
            elif message.get("id") == self.asked:
                break
        self.spoken()
        if "error" in message:
            error = message["error"] if isinstance(message["error"], dict) else {}
            code = error.get("code")
            status = code if isinstance(code, int) and 400 <= code < 600 else 0
            raise StopError("error", f"{method}: {str(error.get('message'))[:500]} ({code})", status)
        result = message.get("result")
        return result if isinstance(result, dict) else {}

    def send(self, **message: object) -> None:
        try:
            self.writes.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            self.writes.flush()
        except OSError as error:
            raise StopError("error", f"the agent reads no more: {error.strerror}") from error

    def receive(self, method: str) -> dict[str, Any]:
        """Return the next message; what is none is passed on to stderr."""
        while line := self.reads.readline(LONGEST):
            if not line.endswith(b"\n"):
                raise StopError("error", f"a line of the agent has no end or more than {LONGEST} bytes")
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if isinstance(message, dict):
                return message
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
        raise StopError("error", f"the agent ended before it answered {method}")

    def hear(self, message: dict[str, Any]) -> None:
        """Take what the agent says or asks by itself."""
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if message["method"] == "session/update" and isinstance(params.get("update"), dict):
            self.update(params["update"])
        elif "id" in message and message["method"] == "session/request_permission":
            self.send(id=message["id"], result={"outcome": permitted(params.get("options"))})
        elif "id" in message:
            error = {"code": -32601, "message": "this client has no such method"}
            self.send(id=message["id"], error=error)

    def update(self, update: dict[str, Any]) -> None:
        kind = update.get("sessionUpdate")
        if kind == "agent_message_chunk":
            self.text += text_of(update.get("content"))
            if len(self.text) > WORDS:
                self.spoken()
            return
        if kind not in {"tool_call", "tool_call_update"}:
            return
        self.spoken()
        name = str(update.get("toolCallId"))
        if name not in self.called and len(self.called) < 1 << 16:
            self.called.add(name)
            self.open.add(name)
            tool = str(update.get("kind") or "tool")
            say(tickover="call", id=name, tool=tool, arguments=update.get("rawInput", update.get("title")))
        status = update.get("status")
        if status in {"completed", "failed"} and name in self.open:
            self.open.discard(name)
            parts = update.get("content")
            found = [each for each in parts if isinstance(each, dict)] if isinstance(parts, list) else []
            text = "\n".join(filter(None, (text_of(each.get("content")) for each in found)))
            say(tickover="result", id=name, ok=status == "completed", text=text)

    def spoken(self) -> None:
        if self.text:
            say(tickover="text", text=self.text)
        self.text = ""


def text_of(content: Any) -> str:
    text = content.get("text") if isinstance(content, dict) else None
    return text if isinstance(text, str) else ""


def permitted(options: Any) -> dict[str, str]:
    """Choose what lets the agent go on, once if it can be had."""
    found = [each for each in options if isinstance(each, dict)] if isinstance(options, list) else []
    for wanted in ("allow_once", "allow_always"):
        for option in found:
            if option.get("kind") == wanted:
                return {"outcome": "selected", "optionId": str(option.get("optionId"))}
    return {"outcome": "cancelled"}


def offered(hello: dict[str, Any], servers: dict[str, str], own: dict[str, str]) -> list[dict[str, Any]]:
    """Return the MCP servers as a session is told of them, and say whether the agent can speak to them at all."""
    able = hello.get("agentCapabilities")
    kinds = able.get("mcpCapabilities") if isinstance(able, dict) else None
    if not isinstance(kinds, dict) or kinds.get("http") is not True:
        if servers:
            say(tickover="servers", states=dict.fromkeys(servers, "the agent speaks to no MCP server over HTTP"))
        return []
    if servers:
        say(tickover="servers", states=dict.fromkeys(servers, "connected"))
    return [{"type": "http", "name": name, "url": url, "headers": []} for name, url in {**own, **servers}.items()]


def work(client: Client, task: dict[str, Any]) -> None:
    """Carry out the one turn, and more while it may not stop. Raises StopError."""
    with open(task["prompt"], encoding="utf-8", errors="replace") as file:
        prompt = file.read()
    able = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
    hello = client.ask("initialize", protocolVersion=1, clientCapabilities=able)
    if hello.get("protocolVersion") != 1:
        raise StopError("error", f"the agent speaks version {str(hello.get('protocolVersion'))[:20]}, not 1")
    servers = offered(hello, task.get("servers", {}), task.get("own", {}))
    session = client.ask("session/new", cwd=task["cwd"], mcpServers=servers).get("sessionId")
    info = hello.get("agentInfo")
    version = str(info.get("version", "")) if isinstance(info, dict) else ""
    say(tickover="ready", model="", session=str(session), version=version, tools=[])
    while prompt:
        ended = client.ask("session/prompt", sessionId=session, prompt=[{"type": "text", "text": prompt}])
        stop = str(ended.get("stopReason"))
        if stop != "end_turn":
            raise StopError(STOPS.get(stop, "error"), f"the turn ended with {stop[:50]}")
        prompt = returned(task.get("bell"))


def returned(bell: list[str] | None) -> str:
    """Ask whether it may stop: return what the agent is told, nothing if it may, or if nobody answers."""
    if bell is None:
        return ""
    rung = subprocess.run(bell, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if rung.returncode != GO_ON:
        return ""
    text = rung.stderr.decode("utf-8", "replace")
    say(tickover="returned", text=text)
    return text


def main(path: str) -> int:
    """Work; return the exit code."""
    with open(path, encoding="utf-8") as file:
        task = json.load(file)
    try:
        agent = subprocess.Popen(task["argv"], cwd=task["cwd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        say(tickover="end", why="error", message=f"cannot start {task['argv'][0]}: {error.strerror}", status=0)
        return 1
    assert agent.stdin is not None
    assert agent.stdout is not None
    end: dict[str, object] = {"why": "done", "message": "", "status": 0}
    try:
        work(Client(agent.stdout, agent.stdin), task)
    except StopError as error:
        end = {"why": error.why, "message": str(error), "status": error.status}
    say(tickover="end", **end)
    try:
        agent.stdin.close()
        agent.wait(FAREWELL)
    except (OSError, subprocess.TimeoutExpired):
        agent.kill()
    return 0 if end["why"] == "done" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
