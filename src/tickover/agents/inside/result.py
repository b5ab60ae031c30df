"""Pass Claude Code's stream on, byte for byte, and keep its structured result where the check `output` looks for it.

usage: claude ... | python3 -I result.py FILE

The result stands in the last line, `{"type":"result", ..., "structured_output": ...}`. What is kept is a claim.
"""

from __future__ import annotations

import json
import os
import sys

LONGEST = 1 << 20
MARK = b'{"type":"result"'


def keep(line: bytes, path: str) -> None:
    """Write the result of a line, if it holds one."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return
    if isinstance(message, dict) and message.get("structured_output") is not None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(message["structured_output"], file)


def main(path: str) -> int:
    """Pass on what comes until it ends."""
    line = bytearray()
    too_long = False
    while piece := os.read(0, 1 << 16):
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(1, rest) :]
        *ended, last = piece.split(b"\n")
        for part in ended:
            if not too_long and len(line) + len(part) <= LONGEST and (bytes(line) + part).startswith(MARK):
                keep(bytes(line) + part, path)
            line.clear()
            too_long = False
        if len(line) + len(last) <= LONGEST:
            line += last
        else:
            line.clear()
            too_long = True
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
