"""One shape for every error: {"error": {code, message, hint, where}}. What nobody foresaw tells nothing of itself."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import JSONResponse, Response

from tickover.api.operation import RequestError
from tickover.api.stream import BusyError
from tickover.core.access import AuthError
from tickover.core.errors import NotFoundError, TickoverError, UsageError
from tickover.store.errors import StoreBusyError

RETRY_AFTER: Final = 5
_CONFLICTS: Final = frozenset({"run.ended", "run.refused", "grant.changed"})


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, AuthError | RequestError):
        return error.status
    if isinstance(error, BusyError | StoreBusyError):
        return 503
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, TickoverError) and error.code in _CONFLICTS:
        return 409
    return 400 if isinstance(error, UsageError) else 500


def headers_of(error: Exception, status: int) -> dict[str, str]:
    """Return what the status asks for besides a body."""
    wait = getattr(error, "retry_after", None) or (RETRY_AFTER if status == 503 else None)
    headers = {} if wait is None else {"retry-after": str(wait)}
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="tickover"'
    if run := getattr(error, "run", None):
        headers["tickover-run"] = run
    return headers


def told(error: Exception, request_id: str) -> dict[str, Any]:
    """Return the error as callers read it."""
    if isinstance(error, TickoverError) and (status_of(error) < 500 or isinstance(error, BusyError | StoreBusyError)):
        return error.as_dict()
    hint = f"the server's log has it under the request {request_id}"
    return TickoverError("internal", "an error of Tickover itself", hint=hint).as_dict()


def answer(error: Exception, request_id: str) -> Response:
    """Return the response of an error."""
    status = status_of(error)
    return JSONResponse({"error": told(error, request_id)}, status, headers=headers_of(error, status))
