"""An agent that speaks the Agent Client Protocol and says what a script says: a program for `python3 -c`."""

from __future__ import annotations

_PROGRAM = """\
import json, os, subprocess, sys
COMMAND, WORDS, STOP, DIES, MCP = {script!r}
def send(**message):
    print(json.dumps({{"jsonrpc": "2.0", **message}}), flush=True)
def tell(**update):
    send(method="session/update", params={{"sessionId": "s1", "update": update}})
def text(words):
    tell(sessionUpdate="agent_message_chunk", content={{"type": "text", "text": words}})
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        about = {{"protocolVersion": 1, "agentInfo": {{"name": "scripted", "version": "1.0"}}}}
        if MCP:
            about["agentCapabilities"] = {{"mcpCapabilities": {{"http": True}}}}
        send(id=asked["id"], result=about)
    elif asked.get("method") == "session/new":
        for server in asked["params"]["mcpServers"]:
            os.environ["MCP_URL"] = server["url"]
        send(id=asked["id"], result={{"sessionId": "s1"}})
    elif asked.get("method") == "session/prompt":
        text("On it.")
        tell(sessionUpdate="tool_call", toolCallId="t1", title=COMMAND, kind="execute", status="pending")
        options = [{{"optionId": "no", "kind": "reject_once"}}, {{"optionId": "yes", "kind": "allow_once"}}]
        send(id="p1", method="session/request_permission", params={{"sessionId": "s1", "options": options}})
        if json.loads(sys.stdin.readline())["result"]["outcome"].get("optionId") != "yes" or DIES:
            sys.exit(0)
        code = subprocess.run(["bash", "-c", COMMAND]).returncode
        tell(sessionUpdate="tool_call_update", toolCallId="t1", status="failed" if code else "completed")
        text(WORDS)
        send(id=asked["id"], result={{"stopReason": STOP}})
"""


def acp_agent(command: str, words: str, *, stop: str = "end_turn", dies: bool = False, mcp: bool = False) -> str:
    """Return the program: it runs `command`, says `words`, and ends its turn with `stop`, or `dies` before that.

    With `mcp` it can speak to MCP servers over HTTP; the command has the last one's address as MCP_URL.
    """
    return _PROGRAM.format(script=(command, words, stop, dies, mcp))
