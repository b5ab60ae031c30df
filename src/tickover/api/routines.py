"""/api/v1/routines: what the server knows, and firing it."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from tickover.api.answers import (
    DoneAnswer,
    FireBody,
    FiredAnswer,
    PauseBody,
    PushedAnswer,
    RoutineAnswer,
    RoutinesAnswer,
    VersionAnswer,
    VersionsAnswer,
    WaitQuery,
)
from tickover.api.base import Registered
from tickover.api.fire import PATH, routine_name, start, waited
from tickover.api.operation import Answer, Call, Operation, RequestError
from tickover.control.dispatch import typed_inputs
from tickover.core.wire import iso, row_json

UPLOAD_BYTES: Final = 16 << 20
"""The longest archive of a routine's folder, packed; unpacked it may have four times as much."""
_ENTRIES: Final = 2000


async def list_(call: Call) -> Answer:
    return RoutinesAnswer(routines=[_told(each, call) for each in await call.do(call.desk.routines)])


async def show(call: Call) -> Answer:
    return _told(await call.do(call.desk.routine, routine_name(call)), call)


async def versions(call: Call) -> Answer:
    found = await call.do(call.desk.versions, routine_name(call))
    return VersionsAnswer(versions=[VersionAnswer(version=name, at=iso(at), by=by) for name, at, by in found])


async def pause(call: Call) -> Answer:
    await call.do(call.desk.pause, routine_name(call), call.by, call.body.reason)
    return DoneAnswer()


async def resume(call: Call) -> Answer:
    await call.do(call.desk.resume, routine_name(call), call.by)
    return DoneAnswer()


async def fire(call: Call) -> Answer:
    name, body = routine_name(call), call.body
    if body.text is not None and body.event is not None:
        raise RequestError("api.body", "`text` and `event` are two forms of one thing: give one", key="body.event")
    event = None if body.text is None else body.text.encode("utf-8", "replace")
    if body.event is not None:
        event = json.dumps(body.event, ensure_ascii=True, separators=(",", ":")).encode()
    inputs = dict(body.inputs)
    if body.words:
        declared = (await call.do(call.desk.definition, name)).inputs
        inputs = {**typed_inputs(declared, body.words), **inputs}
    enqueued, row = await start(call, name, event, inputs)
    row = await waited(call, enqueued.run, row, call.query.wait)
    return {"run": enqueued.run, "created": enqueued.created, "row": row_json(row)}


async def push(call: Call) -> Answer:
    return await call.do(_push, call, routine_name(call))


def _push(call: Call, name: str) -> PushedAnswer:
    with tempfile.TemporaryDirectory(prefix="tickover-push-") as scratch:
        folder = Path(scratch) / "routines" / name
        unpack(call.raw, scratch, name)
        if not folder.is_dir():
            raise RequestError("push.archive", f"the archive has no folder `routines/{name}`")
        done = call.desk.push(folder, call.by)
        return PushedAnswer(name=done.name, version=done.version, asks=list(call.desk.asked(done.name)))


def unpack(packed: bytes, into: str, name: str) -> None:
    """Unpack a tar (gzip) with `routines/NAME/...` and `environments/*.yaml`: regular files and folders only.

    Raises RequestError. Links, devices, absolute and climbing paths, and more than it may hold, are refused before
    anything is written.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            members: list[tarfile.TarInfo] = []
            size = 0
            for member in archive:
                size += member.size
                if size > 4 * UPLOAD_BYTES or len(members) >= _ENTRIES:
                    raise RequestError("push.archive", "the archive holds more than a routine may have", status=413)
                _belongs(member, name)
                members.append(member)
            archive.extractall(into, members, filter="data")
    except RequestError:
        raise
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        text = f"the body is no tar archive packed with gzip: {type(error).__name__}"
        raise RequestError("push.archive", text) from None


def _belongs(member: tarfile.TarInfo, name: str) -> None:
    parts = member.name.split("/")
    inside = member.name == f"routines/{name}" or parts[:2] == ["routines", name] or parts[0] == "environments"
    plain = member.isreg() or member.isdir()
    if not inside and member.isdir() and member.name == "routines":
        return
    if not inside or not plain or ".." in parts or "" in parts or os.path.isabs(member.name):
        raise RequestError("push.archive", "only plain files of the routine and its environments can be pushed")


def _told(routine: Registered, call: Call) -> RoutineAnswer:
    return RoutineAnswer(
        name=routine.name,
        version=routine.version,
        pushed_at=iso(routine.pushed_at) or "",
        pushed_by=routine.pushed_by,
        paused=routine.paused_at is not None,
        paused_at=iso(routine.paused_at),
        paused_by=routine.paused_by,
        paused_reason=routine.paused_reason,
        fire_url=call.base_url + PATH.format(name=routine.name),
    )


_ONE: Final = "/api/v1/routines/{name}"
OPERATIONS: Final = (
    Operation("routines_list", "GET", "/api/v1/routines", "read", "List routines", list_, answer=RoutinesAnswer),
    Operation("routine_show", "GET", _ONE, "read", "Show a routine", show, answer=RoutineAnswer, errors=(404,)),
    Operation(
        "routine_push", "POST", f"{_ONE}/push", "operate", "Push a routine's folder, as a tar archive packed with gzip",
        push, answer=PushedAnswer, upload="application/gzip", audit="routine.push",
        max_body=UPLOAD_BYTES, errors=(404,),
    ),
    Operation(
        "routine_versions", "GET", f"{_ONE}/versions", "read", "List what was pushed", versions,
        answer=VersionsAnswer, errors=(404,),
    ),
    Operation(
        "routine_pause", "POST", f"{_ONE}/pause", "operate", "Pause a routine", pause, body=PauseBody,
        answer=DoneAnswer, audit="routine.pause", errors=(404,),
    ),
    Operation(
        "routine_resume", "POST", f"{_ONE}/resume", "operate", "Resume a routine", resume,
        answer=DoneAnswer, audit="routine.resume", errors=(404,),
    ),
    Operation(
        "routine_fire", "POST", f"{_ONE}/fire", "fire", "Start a run; with `wait`, answer when it has ended", fire,
        query=WaitQuery, body=FireBody, answer=FiredAnswer, audit="routine.fire", errors=(404, 409),
    ),
)  # fmt: skip
