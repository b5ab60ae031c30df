"""What a body says, as JSON. A form (Slack's commands, GitHub's other content type) becomes a map."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from tickover.core.document import DocumentError, read_json
from tickover.core.lookup import MISSING

_FORM = "application/x-www-form-urlencoded"
_FIELDS = 1000


def read_content(content_type: str, body: bytes) -> Any:
    """Read a body; MISSING if it is neither JSON nor a form. A form's field `payload` that is JSON is the whole."""
    try:
        if content_type.partition(";")[0].strip().lower() == _FORM:
            return _form(body)
        return read_json(body)
    except DocumentError:
        return MISSING


def _form(body: bytes) -> Any:
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except ValueError:
        return MISSING
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return read_json(fields["payload"]) if "payload" in fields else fields
