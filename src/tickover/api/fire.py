"""The drop-in face: `POST /v1/claude_code/routines/{name}/fire`, as callers of Claude Code Routines send it.

Source of the form: platform.claude.com/docs/en/api/claude-code/routines-fire (of 2026-08): headers, the limit of 65,536
characters, the answer, the error table. Beyond it: `Idempotency-Key`, `?wait=SECONDS`, and in the answer the run.
The text is data from outside: it reaches the routine as its event, never as instructions.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tickover.api import errors
from tickover.api.operation import Call, Operation, RequestError, parse_json
from tickover.api.stream import BusyError, wait_for_end
from tickover.core.access import AuthError
from tickover.core.cause import CAUSES, CauseCode
from tickover.core.errors import NotFoundError, TickoverError
from tickover.core.event import Scalar
from tickover.core.row import RunRow
from tickover.core.status import Execution
from tickover.core.wire import row_json
from tickover.core.wish import Enqueued, Wish

PATH: Final = "/v1/claude_code/routines/{name}/fire"
MOST_CHARACTERS: Final = 65_536
BETAS: Final = re.compile(r"experimental-cc-routine-\d{4}-\d{2}-\d{2}")
"""`anthropic-beta` may list several names; one of them is this. Earlier dates of it keep working there, and here."""
VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_CAP_SECONDS: Final = {CauseCode.CAP: 3600, CauseCode.OVERLAP: 60}  # where the refusal does not say when

_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "invalid_request_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class RunRefusedError(TickoverError):
    """The wish became a run that was refused. `retry_after` is seconds, where waiting may help."""

    def __init__(self, row: RunRow, retry_at: float | None) -> None:
        cause = row.cause.cause if row.cause else None
        why = (CAUSES[cause] if cause else row.reason) or "it was refused"
        hint = row.cause.hint if row.cause else ""
        super().__init__("run.refused", f"run {row.id} was refused: {why}", hint=hint)
        self.run = row.id
        self.cause = cause
        self.retry_after: int | None = None
        if cause in {CauseCode.CAP, CauseCode.OVERLAP}:
            left = _CAP_SECONDS[cause] if retry_at is None else retry_at - row.created
            self.retry_after = max(1, math.ceil(left))


class FireText(BaseModel):
    """The body; keys that are not known are ignored, as there."""

    model_config = ConfigDict(extra="ignore")

    text: Annotated[str, Field(max_length=MOST_CHARACTERS)] | None = None


class FireAnswer(BaseModel):
    """The documented keys, and the run."""

    type: str = "routine_fire"
    claude_code_session_id: str
    claude_code_session_url: str
    run: dict[str, Any]


class FireWait(BaseModel):
    model_config = ConfigDict(extra="ignore")

    wait: Annotated[float, Field(ge=0, le=3600)] = 0


async def fire(call: Call) -> Response:
    """Serve the drop-in request."""
    _headers(call.request)
    name = routine_name(call)
    text = _text(call)
    enqueued, row = await start(call, name, text.encode("utf-8", "replace") if text is not None else None, {})
    row = await waited(call, enqueued.run, row, call.query.wait)
    run = {
        "id": row.id,
        "created": enqueued.created,
        "execution": row.execution,
        "outcome": row.outcome,
        "reason": row.reason,
        "exit_code": row.exit_code,
    }
    answer = FireAnswer(
        claude_code_session_id=f"session_{row.id}",
        claude_code_session_url=f"{call.base_url}/api/v1/runs/{row.id}",
        run=run,
    )
    return JSONResponse(answer.model_dump(mode="json"), headers={"tickover-run": row.id})


def routine_name(call: Call) -> str:
    """Return the routine in the path, if it can be the name of one."""
    name = call.path("name")
    if not NAME.fullmatch(name):
        raise NotFoundError("routine.not_found", "there is no such routine", hint="`tickover routine list`")
    return name


async def start(call: Call, name: str, event: bytes | None, inputs: dict[str, Scalar]) -> tuple[Enqueued, RunRow]:
    """Make the wish a run, once per Idempotency-Key. Raises RunRefusedError when there is a run that was refused."""
    if call.followers.draining:
        raise BusyError("the server is about to stop")
    routine = await call.do(call.desk.definition, name)
    if not call.principal.may("operate") and not any(each.kind == "api" for each in routine.on):
        hint = "give it `on: [{api: {}}]`, or use a token of an operator"
        raise RequestError("routine.no_api", f"the routine `{name}` has no trigger `api`", hint=hint)
    key = call.request.headers.get("idempotency-key")
    if key is not None and not KEY.fullmatch(key):
        raise RequestError("idempotency.key", "an Idempotency-Key has 1 to 255 printable ASCII characters, no space")
    wish = Wish(
        routine=name,
        trigger="api",
        inputs=inputs,
        event=event,
        key=None if key is None else f"api:{key}",
        by=call.by,
    )
    enqueued = await call.do(call.desk.enqueue, wish)
    row = await call.do(call.desk.run_row, enqueued.run)
    if not enqueued.created and (
        row.event_digest != _digest(event) or any(row.inputs.get(k) != v for k, v in inputs.items())
    ):
        text = f"this Idempotency-Key made run {row.id} of another text before"
        raise RequestError("idempotency.mismatch", text, status=409, hint="use a new key for a new request")
    if row.execution is Execution.REFUSED:
        raise RunRefusedError(row, enqueued.retry_at)
    return enqueued, row


async def waited(call: Call, run: str, row: RunRow, seconds: float) -> RunRow:
    """Return the row at the end of the run, or after `seconds`."""
    if not seconds or row.finished is not None:
        return row
    return await wait_for_end(call.followers, lambda: call.do(call.desk.run_row, run), run, seconds)


def told(error: Exception, request_id: str) -> Response:
    """Answer an error as the documented table has it."""
    status = errors.status_of(error)
    if isinstance(error, RunRefusedError):
        status = 429 if error.cause in {CauseCode.CAP, CauseCode.OVERLAP} else 400
    elif status == 409:
        status = 400
    elif isinstance(error, AuthError) and error.code == "auth.other_routine":
        status = 401  # the documented table: a token that is not for this routine
    said = errors.told(error, request_id)
    message = f"{said['message']} ({said['hint']})" if said["hint"] else str(said["message"])
    body = {
        "type": "error",
        "error": {"type": _TYPES.get(status, "api_error"), "message": message},
        "request_id": request_id,
    }
    headers = errors.headers_of(error, status)
    return JSONResponse(body, status, headers=headers)


def row_of(row: RunRow) -> dict[str, Any]:
    """Return the row as answers carry it."""
    return row_json(row)


def _headers(request: Request) -> None:
    version = request.headers.get("anthropic-version", "")
    if not VERSION.fullmatch(version):
        raise RequestError("fire.version", "anthropic-version: header is required", hint="for example 2023-06-01")
    betas = [each.strip() for each in request.headers.get("anthropic-beta", "").split(",")]
    if not any(BETAS.fullmatch(each) for each in betas):
        hint = "experimental-cc-routine-2026-04-01"
        raise RequestError("fire.beta", "anthropic-beta: this endpoint requires the routines beta header", hint=hint)


def _text(call: Call) -> str | None:
    """Read the text. A body that says it is plain text is the text itself."""
    kind = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not call.raw:
        return None
    if kind == "text/plain":
        text = call.raw.decode("utf-8", "replace")
        if len(text) > MOST_CHARACTERS:
            raise RequestError("api.body", f"text: at most {MOST_CHARACTERS} characters are allowed")
        return text
    return parse_json(FireText, call.raw).text


def _digest(event: bytes | None) -> str | None:
    return None if event is None else hashlib.sha256(event).hexdigest()


OPERATION: Final = Operation(
    "fire_drop_in",
    "POST",
    PATH,
    "fire",
    "Start a run, as callers of Claude Code Routines do",
    fire,
    query=FireWait,
    answer=FireAnswer,
    upload="*/*",
    audit="routine.fire",
    errors=(400, 404, 429),
)
