"""Health, metrics, usage, the schedules, and the description of all this."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Final

from starlette.responses import JSONResponse, Response

from tickover import __version__
from tickover.api.answers import (
    DeliveryAnswer,
    HealthAnswer,
    NoticeAnswer,
    NoticesAnswer,
    PageQuery,
    SchedulesAnswer,
    SlotAnswer,
    UsageAnswer,
    UsageLine,
    UsageQuery,
)
from tickover.api.metrics import CONTENT_TYPE, Metrics
from tickover.api.operation import Answer, Call, Operation
from tickover.core.wire import iso

_DAY: Final = 86400.0


async def healthz(call: Call) -> Answer:
    """Say that the process answers; nothing is read."""
    return HealthAnswer(status="draining" if call.followers.draining else "ok", version=__version__)


async def readyz(call: Call) -> Answer:
    """Say whether work can be taken: the store is read, and the server does not drain."""
    await call.do(call.desk.run_rows, limit=1)
    if call.followers.draining:
        return JSONResponse(HealthAnswer(status="draining", version=__version__).model_dump(), 503)
    return HealthAnswer(status="ok", version=__version__)


async def usage(call: Call) -> Answer:
    since = time.time() - call.query.days * _DAY
    sums = await call.do(call.desk.usage, since)
    return UsageAnswer(since=iso(since) or "", usage=[UsageLine(**asdict(each)) for each in sums])


async def schedules(call: Call) -> Answer:
    found = await call.do(call.desk.schedules)
    slots = [
        SlotAnswer(
            routine=each.routine,
            schedule=dict(each.spec),
            slot=iso(each.slot),
            fire_at=iso(each.fire_at),
            enabled=each.enabled,
        )
        for each in found
    ]
    return SchedulesAnswer(schedules=slots)


async def notices(call: Call) -> Answer:
    """Show what people were told, and every attempt to tell them."""
    found = await call.do(call.desk.letters, limit=call.query.limit, before=call.query.cursor)
    told = [
        NoticeAnswer(
            id=letter.id,
            run=letter.run,
            routine=letter.routine,
            kinds=list(letter.kinds),
            target=letter.target,
            created=iso(letter.created) or "",
            state=letter.state,
            merged=letter.merged,
            next_at=iso(letter.next_at),
            deliveries=[DeliveryAnswer(at=iso(each.at) or "", ok=each.ok, says=each.says) for each in deliveries],
        )
        for letter, deliveries in found
    ]
    return NoticesAnswer(notices=told, cursor=told[-1].id if len(told) == call.query.limit else None)


def operations(metrics: Metrics, description: bytes) -> tuple[Operation, ...]:
    """Return the operations that need something of the server besides the desk."""

    async def exposed(call: Call) -> Answer:
        return Response(metrics.text(await call.do(call.desk.usage, 0.0)), media_type=CONTENT_TYPE)

    async def described(call: Call) -> Answer:
        del call
        return Response(description, media_type="application/json")

    return (
        Operation("metrics", "GET", "/metrics", "read", "What Prometheus reads", exposed, media="text/plain"),
        Operation("openapi", "GET", "/api/v1/openapi.json", "public", "This description", described),
    )


OPERATIONS: Final = (
    Operation("healthz", "GET", "/healthz", "public", "The process answers", healthz, answer=HealthAnswer),
    Operation(
        "readyz", "GET", "/readyz", "public", "Work can be taken", readyz, answer=HealthAnswer, errors=(503,)
    ),
    Operation("usage", "GET", "/api/v1/usage", "read", "Sum up runs", usage, query=UsageQuery, answer=UsageAnswer),
    Operation(
        "notices",
        "GET",
        "/api/v1/notices",
        "read",
        "List what people were told, and each attempt to deliver it",
        notices,
        query=PageQuery,
        answer=NoticesAnswer,
    ),
    Operation(
        "schedules", "GET", "/api/v1/schedules", "read", "List schedules with their next slot", schedules,
        answer=SchedulesAnswer,
    ),
)  # fmt: skip
