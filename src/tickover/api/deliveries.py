"""/api/v1/events: what came in from outside, what became of it and why, and putting one in once more."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import Response

from tickover.api.answers import (
    CameAnswer,
    CameListAnswer,
    CameQuery,
    RejectedAnswer,
    RejectionsAnswer,
    ReplayBody,
    RoutingAnswer,
)
from tickover.api.operation import Answer, Call, Operation
from tickover.control.replay import again
from tickover.core.errors import NotFoundError
from tickover.core.wire import iso
from tickover.store.events import EventRecord, Routing

_EVENT: Final = re.compile(r"e[0-9]{1,18}")
_MOST: Final = 200


async def list_(call: Call) -> Answer:
    query: CameQuery = call.query
    events = call.desk.events
    limit = min(query.limit, _MOST)
    found = await call.do(events.list, source=query.source, provider=query.provider, limit=limit, before=query.cursor)
    routings = await call.do(lambda: [events.routings(each.event) for each in found])
    told = [_told(each, became) for each, became in zip(found, routings, strict=True)]
    return CameListAnswer(events=told, cursor=found[-1].event if len(found) == limit else None)


async def show(call: Call) -> Answer:
    record = await call.do(call.desk.events.get, _id(call))
    return _told(record, await call.do(call.desk.events.routings, record.event))


async def body(call: Call) -> Answer:
    record = await call.do(call.desk.events.get, _id(call))
    content = record.body
    if content is None and record.digest is not None:
        content = await call.do(call.desk.blob, record.digest)
    if content is None:
        raise NotFoundError("event.purged", f"the body of {record.event} is not kept any more")
    headers = {"content-disposition": "attachment", "content-security-policy": "sandbox; default-src 'none'"}
    return Response(content, media_type="application/octet-stream", headers=headers)


async def replay(call: Call) -> Answer:
    old = await call.do(call.desk.events.get, _id(call))
    to = call.body.to
    new = await call.do(again, old, to, call.desk.installed, now=time.time(), nonce=secrets.token_hex(8))
    put = await call.desk.events.put(new)
    await call.do(call.desk.events.ring)
    return _told(await call.do(call.desk.events.get, put.event), ())


async def rejected(call: Call) -> Answer:
    found = await call.do(call.desk.events.rejections, min(call.query.limit, _MOST))
    return RejectionsAnswer(
        rejections=[
            RejectedAnswer(
                at=iso(each.minute * 60.0) or "",
                source=each.source,
                reason=each.reason,
                count=each.count,
                sample=dict(each.sample),
            )
            for each in found
        ]
    )


def _id(call: Call) -> str:
    event = call.path("event")
    if not _EVENT.fullmatch(event):
        raise NotFoundError("event.not_found", "there is no such event", hint="GET /api/v1/events")
    return event


def _told(record: EventRecord, routings: Sequence[Routing]) -> CameAnswer:
    return CameAnswer(
        event=record.event,
        source=record.source,
        provider=record.provider,
        name=record.name,
        delivery=record.delivery,
        received_at=iso(record.received_at) or "",
        headers=record.headers,
        size=record.size,
        state=record.state,
        replay_of=record.replay_of,
        routings=[_routing(each) for each in routings],
    )


def _routing(each: Routing) -> RoutingAnswer:
    clauses: list[dict[str, Any]] = [dict(clause) for clause in each.clauses]
    return RoutingAnswer(
        target=each.target,
        at=iso(each.at) or "",
        verdict=each.verdict,
        reason=each.reason,
        says=each.says,
        run=each.run,
        starts_at=iso(each.starts_at),
        depth=each.depth,
        clauses=clauses,
    )


_ONE: Final = "/api/v1/events/{event}"
OPERATIONS: Final = (
    Operation(
        "events_list", "GET", "/api/v1/events", "read", "List what came in, newest first, with what became of it",
        list_, query=CameQuery, answer=CameListAnswer, errors=(404,),
    ),
    Operation(
        "events_rejected", "GET", "/api/v1/rejections", "read", "List what was refused at the door, by minute",
        rejected, query=CameQuery, answer=RejectionsAnswer,
    ),
    Operation(
        "event_show", "GET", _ONE, "read", "Show an event, without its body", show, answer=CameAnswer, errors=(404,)
    ),
    Operation(
        "event_body", "GET", f"{_ONE}/body", "read", "Read an event's body, as it came", body,
        media="application/octet-stream", errors=(404,),
    ),
    Operation(
        "event_replay", "POST", f"{_ONE}/replay", "operate", "Put an event in once more", replay, body=ReplayBody,
        answer=CameAnswer, audit="event.replay", errors=(404,),
    ),
)  # fmt: skip
