"""Ask whether the agent may stop.

usage: python3 -I bell.py URL SECONDS

Exits with 0 if it may, or if nobody answers: then it is judged all the same. Else with 2, and stderr says what the
agent hears: that is how the hook `Stop` of Claude Code sends an agent back to its work.
"""

from __future__ import annotations

import http.client
import json
import sys
import urllib.request

GO_ON = 2
LARGEST = 1 << 20  # bytes of an answer
LEAD = "The work is not done yet. It is looked at from outside, and this is what is missing:"


def main(url: str, seconds: str) -> int:
    """Ring; return the exit code."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, b"", method="POST"), timeout=float(seconds)) as answer:
            told = json.loads(answer.read(LARGEST))
        says = [] if told["stop"] else [str(each) for each in told["says"]]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"nobody answers at {url}: {error}\n")
        return 0
    if not says:
        return 0
    sys.stderr.write("\n".join([LEAD, *(f"- {each}" for each in says), ""]))
    return GO_ON


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
