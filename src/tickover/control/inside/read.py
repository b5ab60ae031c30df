"""Get one address and tell of it: a line of JSON, then the body as it came.

usage: python3 -I read.py URL LARGEST SECONDS HEADER...

LARGEST is in bytes. A redirect is an answer like others. Exits with 1, and a sentence on stderr, if no answer came.
"""

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.request


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows nowhere: what was asked is what is told of."""

    def redirect_request(self, *_: object) -> None:
        return None


def main(url: str, largest: int, seconds: float, wanted: list[str]) -> int:
    """Get it."""
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "tickover"}
    asking = urllib.request.Request(url, headers=headers)  # noqa: S310 - the host's own words
    try:
        answer = urllib.request.build_opener(Stay).open(asking, timeout=seconds)
    except urllib.error.HTTPError as error:
        answer = error
    except (OSError, http.client.HTTPException) as error:
        print(getattr(error, "reason", None) or error, file=sys.stderr)
        return 1
    try:
        body = answer.read(largest + 1)
    except (OSError, http.client.HTTPException) as error:
        print(f"its answer broke off: {error}", file=sys.stderr)
        return 1
    kept = {name: answer.headers[name] for name in wanted if answer.headers[name] is not None}
    head = {"status": answer.status, "headers": kept, "truncated": len(body) > largest}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + body[:largest])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]))
