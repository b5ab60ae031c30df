"""Why something does not go through, in a form that the run, the journal and a test can read."""

from __future__ import annotations

import json


class Refusal(Exception):  # noqa: N818 - an answer, more than an error
    """An HTTP status and a stable reason (`x-tickover-deny`); `detail` is for people and may hold hostile text."""

    def __init__(self, status: int, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.status = status
        self.reason = reason
        self.detail = detail

    def body(self) -> bytes:
        """Return what the client reads: ASCII JSON on one line."""
        error = {"reason": self.reason, "detail": self.detail[:500]}
        return json.dumps({"error": error, "by": "tickover"}).encode() + b"\n"
