"""Send one request and say what was answered; the agent `remote` is nothing else.

usage: python3 -I forward.py REQUEST.json

REQUEST.json has url, headers and body. Exits with 0 if the answer is a 2xx, else with 1. A redirect is not followed.
The run's id goes along as Idempotency-Key. No credential is here: the gateway puts it in.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request

TYPE_CHECKING = False  # as in typing, whose import a start need not pay for
if TYPE_CHECKING:
    from typing import Any

SECONDS = 60
SHOWN = 4096  # bytes of an answer


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def main(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        asked = json.load(file)
    headers = {**asked["headers"], "Idempotency-Key": os.environ.get("TICKOVER_RUN", "")}
    request = urllib.request.Request(asked["url"], asked["body"].encode(), headers, method="POST")
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=SECONDS) as answer:
            status, said = answer.status, answer.read(SHOWN)
    except urllib.error.HTTPError as error:
        status, said = error.code, error.read(SHOWN)
    except OSError as error:
        print(f"no answer: {error}")
        return 1
    print(f"answered {status}: {said.decode('utf-8', 'replace')}")
    return 0 if 200 <= status < 300 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
