"""What of a request's body must be read before it can be judged, or receipted; the rest is only passed on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tickover.core.enforcement import Body, JsonBody, Need, OtherBody, PushBody, read_body
from tickover.core.lookup import JsonPath
from tickover.core.receipt import Chosen, choose
from tickover.gateway import pack
from tickover.gateway.asked import Asked
from tickover.gateway.base import Channel
from tickover.gateway.guard import Guard
from tickover.gateway.http1 import Data, End, RequestReader
from tickover.gateway.receive_pack import CommandReader

MOST_BYTES = 1 << 20
"""Bytes of a JSON body that are read; a longer one is no JSON that a rule allows."""

NOT_READ = OtherBody("it was not read")


@dataclass(slots=True)
class Inflow:
    """A request's body on its way in. `begin` was read already; `over` once nothing follows."""

    client: Channel
    reader: RequestReader
    begin: bytes = b""
    over: bool = False

    async def more(self) -> bytes:
        """Return the next bytes, none at the end. Raises Refusal for what is no body."""
        while not self.over:
            event = self.reader.next_event()
            if isinstance(event, Data):
                return event.data
            if isinstance(event, End):
                self.over = True
            else:
                self.reader.receive(await self.client.read())
        return b""


async def read_ahead(inflow: Inflow, asked: Asked, needed: Need, most: int = MOST_BYTES) -> Body:
    """Read as much of a body as is needed into `inflow.begin`, and return what it is: JSON up to `most` bytes."""
    if not asked.has_body:
        await inflow.more()
        return None
    if needed is Need.PUSH:
        if asked.fields.tokens("content-encoding"):
            return OtherBody("it is compressed")
        return await _read_push(inflow)
    if needed is Need.NOTHING:
        return NOT_READ
    if asked.framing.length > most:
        return OtherBody(f"it is longer than {most} bytes")
    pieces = bytearray()
    while data := await inflow.more():
        pieces += data
        if len(pieces) > most:
            break
    inflow.begin = bytes(pieces)
    if len(pieces) > most:
        return OtherBody(f"it is longer than {most} bytes")
    return read_body(tuple(asked.fields), inflow.begin)


async def _read_push(inflow: Inflow) -> Body:
    """Read the commands; where one may be a fast forward, or else overwrites, the pack too, if it is not too large."""
    commands = CommandReader()
    found: Body = None
    while found is None:
        if not (data := await inflow.more()):
            return OtherBody("it ends in the middle of its list of refs")
        inflow.begin += data
        found = commands.feed(data)
    if not isinstance(found, PushBody) or not any(each.overwrites for each in found.updates):
        return found
    size, pieces = len(commands.rest), [commands.rest]
    while size <= pack.MOST_BYTES and (data := await inflow.more()):
        pieces.append(data)
        size += len(data)
    inflow.begin += b"".join(pieces[1:])
    if not inflow.over:
        return found
    return PushBody(await asyncio.to_thread(pack.told, found.updates, b"".join(pieces)))


def chosen_of(body: Body, paths: Sequence[JsonPath], guard: Guard) -> Chosen | None:
    """Return what a receipt keeps of a request's body."""
    if not paths or body is None:
        return None
    return choose(body.value, paths, guard.redact) if isinstance(body, JsonBody) else Chosen(complete=False)


def refs_of(body: Body) -> tuple[str, ...]:
    """Return the updates of a push as a receipt keeps them: `ref old new`."""
    return tuple(f"{each.ref} {each.old} {each.new}" for each in body.updates) if isinstance(body, PushBody) else ()
