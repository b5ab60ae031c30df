"""The inspector: each request to an inspected host is read, judged, receipted, and sent anew with its credential.

    guard.py       what is decided: host, credentials, `may`, secrets    reading.py   what of a body must be read first
    calls.py       numbers, `max`, receipts                              exchange.py  the request out, the answer back
    credential.py  out with the client's own, in with the granted        answer.py    the answer rewritten and scrubbed
    as_app.py      as a GitHub App: a token made for it, renewed once    app_tokens.py, errand.py   how it is made

Whatever is refused is answered in HTTP with the reason, told once, and ends its connection.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from tickover.core.egress import Egress
from tickover.core.enforcement import Need
from tickover.core.github_app import AppForm
from tickover.core.receipt import Identity
from tickover.gateway.app_tokens import AppTokens
from tickover.gateway.as_app import AsApp
from tickover.gateway.asked import Asked
from tickover.gateway.base import Channel, Denial, Ledger, TellDenial, Values
from tickover.gateway.calls import Call, Calls
from tickover.gateway.certificates import RunAuthority
from tickover.gateway.dial import Dialler
from tickover.gateway.errand import ApiErrands
from tickover.gateway.exchange import Carrier, Exchange
from tickover.gateway.fence import Fence
from tickover.gateway.guard import Guard
from tickover.gateway.http1 import Request, RequestReader, refusal_answer
from tickover.gateway.meter import MOST_BYTES, Meter, MeteredCall, plain, with_body
from tickover.gateway.patience import Patience, within
from tickover.gateway.plane import Arrival
from tickover.gateway.playing import Playback
from tickover.gateway.pool import Pool
from tickover.gateway.reading import MOST_BYTES as LONGEST_JSON
from tickover.gateway.reading import Inflow, chosen_of, read_ahead, refs_of
from tickover.gateway.refusal import Refusal
from tickover.gateway.tape import Recording, Tape
from tickover.gateway.tls import Secure

_BODIES_AT_ONCE, _PUSHES_AT_ONCE = 8, 1
"""Bodies that are held in memory at the same time; the next one waits for its place."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class _Visit:
    """A client's connection. `proxied`: its requests name their host in the absolute form, one per connection."""

    arrival: Arrival
    client: Channel
    reader: RequestReader
    scheme: str
    proxied: bool = False


class Inspector:
    """Inspects one run's requests under one identity: what `Plane(inspect=...)` calls for each connection.

    To be made inside a running event loop. `counts` has the writes that left in this run before, by rule, over all
    attempts (core.receipt.counts_of); `numbers` gives each call the next number of the run. `upstream` is the
    process's one context for all upstreams (certificates.upstream_context). `tell` hears of each refusal once, `meter`
    sees what goes to models and comes back, `apps` has the tokens of GitHub Apps. A `tape` records each exchange;
    `playback` answers in upstreams' place.
    After the plane is closed, await `close`; then the ledger has every record, and its head can be sealed.
    """

    def __init__(
        self,
        *,
        run: str,
        attempt: int,
        identity: Identity,
        egress: Egress,
        authority: RunAuthority,
        values: Values,
        ledger: Ledger,
        fence: Fence,
        dialler: Dialler,
        upstream: ssl.SSLContext,
        tell: TellDenial,
        counts: Counter[str] | None = None,
        numbers: Iterator[int] | None = None,
        clock: Callable[[], float] = time.time,
        patience: Patience | None = None,
        guard: Guard | None = None,
        meter: Meter | None = None,
        apps: AppTokens | None = None,
        tape: Tape | None = None,
        playback: Playback | None = None,
    ) -> None:
        self.run = run
        self._egress = egress
        self._authority = authority
        self._fence = fence
        self._tell = tell
        self._patience = patience or Patience()
        self._guard = guard or Guard(egress, values)
        self._meter = meter
        self._apps = apps or AppTokens()
        self._calls = Calls(
            ledger=ledger, fence=fence, attempt=attempt, identity=identity, clock=clock,
            counts=Counter() if counts is None else counts, numbers=numbers or itertools.count(1),
        )  # fmt: skip
        self._bodies, self._pushes = asyncio.Semaphore(_BODIES_AT_ONCE), asyncio.Semaphore(_PUSHES_AT_ONCE)
        self._pool = Pool(dialler, fence, upstream, self._patience)
        self._tape = tape
        self._carrier = playback or Carrier(self._guard, self._pool, fence, self._patience)

    async def close(self) -> None:
        """Close the idle connections, and wait until the ledger has all records."""
        self._pool.close()
        await self._calls.settled()

    async def __call__(self, arrival: Arrival) -> None:
        """Serve a connection until its end. Raises Refusal only where TLS could not be begun."""
        visit = await self._visit(arrival)
        try:
            request = arrival.request
            while request or (request := await self._next(visit)):
                if not await self._serve(visit, request):
                    break
                visit.reader.next_message()
                request = None
        finally:
            visit.client.close()

    async def _visit(self, arrival: Arrival) -> _Visit:
        if arrival.request and arrival.reader:
            scheme = arrival.request.target.scheme or "http"
            return _Visit(arrival, arrival.client, arrival.reader, scheme, proxied=True)
        reader = self.reader()
        if not arrival.hello:
            reader.receive(arrival.first)
            return _Visit(arrival, arrival.client, reader, "http")
        secure = Secure(arrival.client, self._authority.context(arrival.decision.host), first=arrival.first)
        async with within(self._patience.head_s, 408, "slow_peer", "no TLS handshake"):
            await secure.handshake()
        return _Visit(arrival, secure, reader, "https")

    def reader(self) -> RequestReader:
        """Make what reads a client's requests: strictly, and in the origin form only."""
        return RequestReader(frozenset({"origin"}))

    async def _next(self, visit: _Visit) -> Request | None:
        """Return the next request; None if the client has gone, or said nothing for long, or nothing that is one."""
        reader, client = visit.reader, visit.client
        try:
            if reader.idle:
                with suppress(Refusal):
                    async with within(self._patience.keep_alive_s, 408, "idle", "nothing"):
                        if data := await client.read():
                            reader.receive(data)
                if reader.idle:
                    return None
            if (event := reader.next_event()) is None:
                async with within(self._patience.head_s, 408, "slow_head", "no whole head of a request"):
                    while event is None:
                        reader.receive(await client.read())
                        event = reader.next_event()
        except Refusal as refusal:
            await self._refuse(visit, None, refusal)
            return None
        return event if isinstance(event, Request) else None

    async def _serve(self, visit: _Visit, request: Request) -> bool:
        """Serve a request; say whether another one may follow on the connection."""
        exchange: Exchange | None = None
        try:
            exchange = await self._metered(visit, request)
            try:
                return await self._carrier.carry(exchange)
            except Refusal as refusal:
                exchange.call.why = f"{refusal.reason}: {refusal.detail}"[:500]
                raise
            finally:
                self._calls.end(exchange.call)
                if exchange.metered:
                    call = exchange.call
                    exchange.metered.end(sent=call.sent, status=call.status, whole=call.whole)
                self._record(exchange)
        except Refusal as refusal:
            await self._refuse(visit, request, refusal, answering=exchange is not None and exchange.answering)
            return False

    async def _metered(self, visit: _Visit, request: Request) -> Exchange:
        """Admit a request; what it held of the budget is given back if it is not. Raises Refusal."""
        held: list[MeteredCall] = []
        try:
            return await self._admit(visit, request, held)
        except BaseException:
            for each in held:
                each.end(sent=False, status=None, whole=False)
            raise

    async def _admit(self, visit: _Visit, request: Request, held: list[MeteredCall]) -> Exchange:
        """Judge a request, count it and write its receipt, so that it may leave. Raises Refusal."""
        guard, decision = self._guard, visit.arrival.decision
        if visit.proxied and visit.scheme != "http":
            raise Refusal(400, "bad_target", "ask a proxy for https by CONNECT")
        guard.hold(request, decision)
        await guard.fresh(decision.host)
        asked = guard.clean(Asked.of(request, visit.scheme, decision.host, decision.port))
        dialect = self._meter.dialect(asked) if self._meter else None
        needed, most = (guard.need(asked), LONGEST_JSON) if dialect is None else (Need.JSON, MOST_BYTES)
        inflow = Inflow(visit.client, visit.reader)
        if request.expects_continue and needed is not Need.NOTHING:
            visit.client.write(_CONTINUE)
        if asked.has_body and needed is not Need.NOTHING:
            places = self._pushes if needed is Need.PUSH else self._bodies
            async with (
                within(self._patience.body_s, 408, "slow_body", "the body that must be read did not come"),
                places,
            ):
                body = await read_ahead(inflow, asked, needed, most)
        else:
            body = await read_ahead(inflow, asked, needed, most)
        allow = guard.judge(asked, body, self._calls.counts)
        said: bytes | None = None
        if self._meter and dialect:
            metered, instead = self._meter.admit(dialect, asked, allow, body, len(inflow.begin))
            if metered:
                held.append(metered)
                asked = plain(asked)
            if instead is not None:
                said = inflow.begin
                asked, inflow.begin = with_body(asked, instead), instead
        app = AsApp.of(allow.credential, asked, guard, self._apps, self._errands)
        dressed = await app.dressed() if app else guard.dress(asked, allow.credential)
        try:
            head = dressed.head()
        except ValueError as error:
            raise Refusal(400, "unwritable", "the request cannot be written anew") from error
        chosen = chosen_of(body, self._egress.wanted.request, guard) if allow.writes else None
        shown = replace(asked, path=guard.redact(asked.path), query=guard.redact(asked.query))
        call = await self._calls.begin(shown, allow, chosen, refs_of(body))
        paths = self._egress.wanted.response
        wire = visit.arrival.client
        gone = wire.ending if visit.scheme == "https" else wire.closed  # half a TLS connection is none
        keep = request.keep_alive and not visit.proxied
        metered = held[0] if held else None
        recording = self._recording(shown, said, call)

        async def renew() -> bytes | None:
            if app:
                again = await app.again(repeatable=not allow.writes and not asked.has_body)
            else:
                again = await guard.again(asked, allow.credential) if allow.credential else None
            return again.head() if again else None

        return Exchange(
            request, dressed, head, inflow, decision, call, visit.client, paths, keep, gone, renew, metered, recording
        )  # fmt: skip

    def _recording(self, shown: Asked, said: bytes | None, call: Call) -> Recording | None:
        """Begin to record an exchange, where a tape runs; `said` is its body where another one leaves."""
        if self._tape is None:
            return None
        recording = Recording(shown, said)
        call.request, call.response = recording.request, recording.response
        return recording

    def _record(self, exchange: Exchange) -> None:
        call, recording = exchange.call, exchange.recording
        if self._tape is None or recording is None or not (call.sent or call.why):
            return
        try:
            self._tape.end(recording, self._guard.blot, status=call.status, whole=call.whole, why=call.why)
        except OSError:  # a recording with a hole in it is none
            self._fence.cut("tape")

    def _errands(self, app: AppForm) -> ApiErrands:
        return ApiErrands(app, self._pool, self._fence)

    async def _refuse(
        self, visit: _Visit, request: Request | None, refusal: Refusal, *, answering: bool = False
    ) -> None:
        """Answer with the reason and tell of it; an answer that has begun is broken off instead."""
        decision = visit.arrival.decision
        method, path = (request.method, request.target.path) if request else ("", "")
        path = self._guard.redact(path.partition("?")[0])
        says = self._guard.redact(refusal.detail)
        if refusal.status == 499:
            return
        if self._fence.reason:  # told of by the plane, for every connection
            visit.client.reset()
            return
        self._tell(Denial(decision.host, decision.port, refusal.status, refusal.reason, says, method, path))
        if answering:
            visit.client.reset()
            return
        visit.client.write(refusal_answer(refusal, head_only=method == "HEAD"))
        if visit.reader.done:
            return
        with suppress(Refusal):  # closing on unread bytes would take the answer back
            async with within(self._patience.linger_s, 408, "linger", ""):
                await visit.client.drain()
                while await visit.client.read():
                    pass
