"""What a route is: a row of a table. The server, the tests of who may do what, and OpenAPI read the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tickover.api.base import Desk
from tickover.api.stream import Followers
from tickover.core.access import Need, Principal
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import UsageError, Where

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Answer: TypeAlias = "BaseModel | Mapping[str, Any] | Response"
Handler: TypeAlias = "Callable[[Call], Awaitable[Answer]]"

BODY_BYTES: Final = 1 << 20
"""The longest body of an operation that does not say otherwise."""
BODY_SECONDS: Final = 30.0
"""How long a sender may take for its body."""


class RequestError(UsageError):
    """A request that cannot be served as it is. `status` is its HTTP status."""

    def __init__(self, code: str, message: str, *, status: int = 400, hint: str = "", key: str | None = None) -> None:
        super().__init__(code, message, hint=hint, where=Where(key=key) if key else None)
        self.status = status


@dataclass(frozen=True, slots=True)
class Operation:
    """One route. `audit` names the change that it makes; reading has none."""

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: str
    need: Need
    says: str
    handler: Handler
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    media: str = "application/json"
    upload: str | None = None
    """Media type of a body that is no JSON."""
    audit: str | None = None
    errors: tuple[int, ...] = ()
    """Statuses that it answers with beyond those that all have."""
    max_body: int = BODY_BYTES


@dataclass(slots=True)
class Call:
    """One request on its way through an operation."""

    operation: Operation
    request: Request
    desk: Desk
    threads: Executor
    followers: Followers
    principal: Principal
    origin: str
    base_url: str
    """Where this server is reached from outside, without a slash at the end."""
    query: Any = None
    body: Any = None
    raw: bytes = b""

    async def do(self, verb: Callable[..., T], *args: Any, **more: Any) -> T:
        """Do something of the desk in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, lambda: verb(*args, **more))

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    @property
    def by(self) -> str:
        """Who is behind it, as journals and the audit log name it."""
        return str(self.principal)


async def read_body(request: Request, most: int = BODY_BYTES, seconds: float = BODY_SECONDS) -> bytes:
    """Read the whole body. Raises RequestError for one that is too long or comes too slowly."""
    pieces, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                size += len(piece)
                if size > most:
                    text = f"the body is longer than {most} bytes"
                    raise RequestError("api.too_large", text, status=413)
                pieces.append(piece)
    except TimeoutError:
        text = f"the body did not arrive within {seconds:g} s"
        raise RequestError("api.slow_body", text, status=408) from None
    except ClientDisconnect:
        raise RequestError("api.gone", "the caller went away before its body was complete") from None
    return b"".join(pieces)


def parse_query(model: type[M], request: Request) -> M:
    """Read the query string. A parameter that is unknown, wrong or given twice is an error."""
    given: dict[str, str] = {}
    for key, value in request.query_params.multi_items():
        if key in given:
            raise RequestError("api.query", "a parameter is given twice", key=f"query.{key[:80]}")
        given[key] = value
    return _validated(model, given, "query")


def parse_json(model: type[M], raw: bytes) -> M:
    """Read a JSON body; an empty one is `{}`."""
    try:
        value = read_json(raw or b"{}", unique=True)
    except DocumentError as error:
        raise RequestError("api.body", f"the body is no JSON that can be taken: {error}") from None
    return _validated(model, value, "body")


def _validated(model: type[M], value: Any, what: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        at = ".".join(str(part) for part in first["loc"])[:200]
        raise RequestError(f"api.{what}", first["msg"], key=f"{what}.{at}" if at else what) from None
    except RecursionError:
        raise RequestError(f"api.{what}", "it nests too deeply") from None
