"""A double of an MCP server that is a program: `python -I -m tickover.testing.mcp_program`, or its text in a sandbox.

It needs nothing but the standard library. Tools: `echo` (text -> the same), `slow` (tells of progress and logs, then
answers), `env` (name -> that variable), `fetch` (url -> status and body), `ask` (asks the client, says what came),
`die` (ends in the middle), `never` (does not answer), `noise` (prints what is no message), `huge` (a line too long).
Whatever resource is subscribed to, or not any more, changes at once.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

READING = ("echo", "slow", "env", "never", "noise", "huge", "ask")
WRITING = ("fetch", "die")
log: list[str] = []


def say(message: dict[str, object]) -> None:
    shout(json.dumps({"jsonrpc": "2.0", **message}))


def shout(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def text(content: object, *, failed: bool = False) -> dict[str, object]:
    return {"content": [{"type": "text", "text": str(content)}], "isError": failed}


def call(number: object, name: str, given: dict[str, str], token: object) -> None:
    if name == "echo":
        say({"id": number, "result": text(given.get("text", ""))})
    elif name == "slow":
        for step in (1, 2):
            params = {"progressToken": token, "progress": step, "total": 2}
            say({"method": "notifications/progress", "params": params})
        say({"method": "notifications/message", "params": {"level": "info", "data": "half way"}})
        say({"id": number, "result": text("done")})
    elif name == "env":
        say({"id": number, "result": text(os.environ.get(given["name"], "unset"))})
    elif name == "fetch":
        data = given["body"].encode() if "body" in given else None
        headers = {"authorization": f"Bearer {os.environ.get('TOKEN', '')}", "content-type": "application/json"}
        try:
            asked = urllib.request.Request(given["url"], data=data, headers=headers)  # noqa: S310 - a double
            with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
                said = f"{answer.status} {answer.read(4096).decode()}"
        except OSError as error:
            say({"id": number, "result": text(error, failed=True)})
        else:
            say({"id": number, "result": text(said)})
    elif name == "ask":
        say({"id": "mine", "method": "elicitation/create", "params": {"message": "who?"}})
        answer = json.loads(sys.stdin.readline())
        say({"id": number, "result": text(json.dumps({k: v for k, v in answer.items() if k != "jsonrpc"}))})
    elif name == "die":
        sys.exit(3)
    elif name == "noise":
        shout('starting up, please wait\n\n{"jsonrpc": 1}')
        say({"id": number, "result": text("quiet again")})
    elif name == "huge":
        say({"id": number, "result": text("x" * (9 << 20))})


def main() -> None:
    """Serve until the input ends."""
    sys.stderr.write("double of an MCP server\n")
    sys.stderr.flush()
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message.get("method"), message.get("params") or {}
        log.append(f"{method} {message.get('id', '')}".strip())
        if method == "initialize":
            about = {"name": "double", "version": "1"}
            result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": about}
            say({"id": message["id"], "result": result})
        elif method == "tools/list":
            tools = [
                {
                    "name": name,
                    "description": f"the tool {name}",
                    "inputSchema": {"type": "object"},
                    "annotations": {"readOnlyHint": name in READING},
                }
                for name in (*READING, *WRITING)
            ]
            say({"id": message["id"], "result": {"tools": tools}})
        elif method == "tools/call":
            call(
                message["id"], params["name"], params.get("arguments", {}), params.get("_meta", {}).get("progressToken")
            )
        elif method in {"resources/subscribe", "resources/unsubscribe"}:
            say({"id": message["id"], "result": {}})
            say({"method": "notifications/resources/updated", "params": params})
        elif method == "test/log":
            say({"id": message["id"], "result": {"log": log}})
        elif "id" in message and method is not None:
            say({"id": message["id"], "error": {"code": -32601, "message": f"no {method}"}})


if __name__ == "__main__":
    main()
