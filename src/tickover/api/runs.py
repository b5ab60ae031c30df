"""/api/v1/runs: what became of runs, their journals as they grow, and cancelling."""

from __future__ import annotations

import re
from typing import Any, Final

from starlette.responses import Response, StreamingResponse

from tickover.api.answers import (
    ArtifactAnswer,
    ArtifactsAnswer,
    DenialAnswer,
    DoneAnswer,
    EventsAnswer,
    EventsQuery,
    NetworkAnswer,
    RunAnswer,
    RunLine,
    RunsAnswer,
    RunsQuery,
    StreamQuery,
    WaitQuery,
)
from tickover.api.operation import Answer, Call, Operation, RequestError
from tickover.api.stream import event_stream, wait_for_end
from tickover.core.errors import NotFoundError, TickoverError
from tickover.core.event import JournalEvent
from tickover.core.row import RunRow
from tickover.core.wire import event_json, iso, row_json

_RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SEQ: Final = re.compile(r"[0-9]{1,15}")
_NETWORK: Final = frozenset({"receipt_begun", "receipt_ended", "receipts_sealed"})


async def list_(call: Call) -> Answer:
    query: RunsQuery = call.query
    rows = await call.do(
        call.desk.run_rows,
        routine=query.routine,
        execution=query.execution,
        outcome=query.outcome,
        limit=query.limit,
        before=query.cursor,
    )
    cursor = rows[-1].id if len(rows) == query.limit else None
    return RunsAnswer(runs=[_line(row) for row in rows], cursor=cursor)


async def show(call: Call) -> Answer:
    run = _id(call)
    row = await call.do(call.desk.run_row, run)
    if call.query.wait and row.finished is None:
        row = await wait_for_end(call.followers, lambda: call.do(call.desk.run_row, row.id), row.id, call.query.wait)
    return row_json(row)


async def events(call: Call) -> Answer:
    row = await _row(call)
    found = await call.do(call.desk.journal, row.id, call.query.after)
    page = found[: call.query.limit]
    return {"events": [event_json(each) for each in page], "last_seq": row.last_seq}


async def stream(call: Call) -> Answer:
    """Serve the journal as it grows. To a reader that has seen the end the answer is 204: do not come back."""
    row = await _row(call)
    last = call.request.headers.get("last-event-id")
    if last is not None and not _SEQ.fullmatch(last):
        raise RequestError("api.last_event_id", "Last-Event-ID is the number of an event")
    after = call.query.after if last is None else int(last)
    if last is not None and row.finished is not None and after >= row.last_seq:
        return Response(status_code=204)
    body = event_stream(
        call.followers,
        lambda seq: call.do(call.desk.journal, row.id, seq),
        lambda: call.do(call.desk.run_row, row.id),
        row.id,
        after,
    )
    return StreamingResponse(body, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def cancel(call: Call) -> Answer:
    row = await _row(call)
    if row.finished is not None:
        text = f"run {row.id} has ended already: execution {row.execution}, outcome {row.outcome}"
        raise TickoverError("run.ended", text)
    await call.do(call.desk.cancel, row.id, call.by)
    return DoneAnswer()


async def artifacts(call: Call) -> Answer:
    row = await _row(call)
    return ArtifactsAnswer(artifacts=[ArtifactAnswer(**each.model_dump()) for each in row.artifacts])


async def artifact(call: Call) -> Answer:
    """Serve an artifact as a download: an agent made it, so no browser shall show or run it here."""
    row = await _row(call)
    return _download(await call.do(call.desk.artifact, row.id, call.path("path")))


async def blob(call: Call) -> Answer:
    """Serve a body that the run's journal or row names, and no other."""
    row, digest = await _row(call), call.path("digest")
    if not _DIGEST.fullmatch(digest):
        raise NotFoundError("blob.not_found", "that is no name of a body")
    named = digest in row.model_dump_json()
    after = 0
    while not named and (page := await call.do(call.desk.journal, row.id, after)):
        after = page[-1].seq
        named = any(digest in event.model_dump_json() for event in page)
    if not named:
        raise NotFoundError("blob.not_found", f"run {row.id} has no such body")
    return _download(await call.do(call.desk.blob, digest))


def _download(body: bytes) -> Response:
    headers = {"content-disposition": "attachment", "content-security-policy": "sandbox; default-src 'none'"}
    return Response(body, media_type="application/octet-stream", headers=headers)


async def network(call: Call) -> Answer:
    row = await _row(call)
    calls: list[dict[str, Any]] = []
    denied: list[DenialAnswer] = []
    after = 0
    while page := await call.do(call.desk.journal, row.id, after):
        after = page[-1].seq
        for event in page:
            _saw(event, calls, denied)
    return NetworkAnswer(sums=row.network.model_dump(mode="json"), calls=calls, denied=denied)


def _saw(event: JournalEvent, calls: list[dict[str, Any]], denied: list[DenialAnswer]) -> None:
    if event.type in _NETWORK:
        told = event_json(event)
        calls.append({"seq": event.seq, "at": told["at"], "type": event.type, **told["data"]})
    elif event.type == "connection_denied":
        known = {name: event.data[name] for name in DenialAnswer.model_fields if name in event.data}
        denied.append(DenialAnswer.model_validate({"method": "", "path": "", "times": 1, **known}))


def _id(call: Call) -> str:
    run = call.path("run")
    if not _RUN.fullmatch(run):
        raise NotFoundError("run.not_found", "there is no such run", hint="`tickover runs list` shows the runs")
    return run


async def _row(call: Call) -> RunRow:
    return await call.do(call.desk.run_row, _id(call))


def _line(row: RunRow) -> RunLine:
    return RunLine(
        id=row.id,
        routine=row.routine,
        title=row.title,
        trigger=row.trigger,
        execution=row.execution,
        outcome=row.outcome,
        reason=row.reason,
        exit_code=row.exit_code,
        created=iso(row.created) or "",
        started=iso(row.started),
        finished=iso(row.finished),
    )


_ONE: Final = "/api/v1/runs/{run}"
OPERATIONS: Final = (
    Operation(
        "runs_list", "GET", "/api/v1/runs", "read", "List runs, newest first", list_, query=RunsQuery, answer=RunsAnswer
    ),
    Operation(
        "run_show", "GET", _ONE, "read", "Show a run; with `wait`, answer when it has ended", show, query=WaitQuery,
        answer=RunAnswer, errors=(404,),
    ),
    Operation(
        "run_events", "GET", f"{_ONE}/events", "read", "Read a run's journal beyond a number", events,
        query=EventsQuery, answer=EventsAnswer, errors=(404,),
    ),
    Operation(
        "run_stream", "GET", f"{_ONE}/stream", "read", "Follow a run's journal; `Last-Event-ID` goes on from there",
        stream, query=StreamQuery, media="text/event-stream", errors=(404,),
    ),
    Operation(
        "run_cancel", "POST", f"{_ONE}/cancel", "operate", "Ask whoever works on a run to stop", cancel,
        answer=DoneAnswer, audit="run.cancel", errors=(404, 409),
    ),
    Operation(
        "run_artifacts", "GET", f"{_ONE}/artifacts", "read", "List a run's artifacts", artifacts,
        answer=ArtifactsAnswer, errors=(404,),
    ),
    Operation(
        "run_artifact", "GET", f"{_ONE}/artifacts/{{path:path}}", "read", "Get an artifact", artifact,
        media="application/octet-stream", errors=(404,),
    ),
    Operation(
        "run_blob", "GET", f"{_ONE}/blobs/{{digest}}", "read", "Get a body that a run's journal names", blob,
        media="application/octet-stream", errors=(404,),
    ),
    Operation(
        "run_network", "GET", f"{_ONE}/network", "read", "Show what the gateway saw of a run", network,
        answer=NetworkAnswer, errors=(404,),
    ),
)  # fmt: skip
