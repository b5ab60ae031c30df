"""A run's network on a page: every call as the gateway saw it, what was denied and why, whether the chain verifies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tickover.cli.blocks import Block, Cell, Ink, Line, Table
from tickover.cli.wire import FORMAT, iso
from tickover.cli.words import counted, size, span
from tickover.control.receipts import Traffic
from tickover.core.event import ConnectionDenied
from tickover.core.receipt import Identity, Receipt
from tickover.core.row import RunRow
from tickover.core.target import PORTS


def network_page(row: RunRow, traffic: Traffic, wrong: str) -> Iterator[Block]:
    """Return what the gateway saw. `wrong` says why the receipts are not to be believed, if so."""
    yield Line(Ink(row.routine, "bold"), "  ", Ink(f"run {row.id}", "dim"))
    if row.replay_of is not None:
        yield Line(Ink(f"a replay of run {row.replay_of}: its recording answered, and nothing left", "warn"), indent=2)
    yield Line("")
    yield Line(Ink("receipts", "bold"))
    heads = ("", "call", "by", "request", "answer", "out", "in", "took", "rule", "credential")
    rows = tuple(_call(each) for each in traffic.receipts)
    yield Table(rows, heads=heads) if rows else Line("none: nothing was sent that the gateway reads", indent=2)
    if traffic.denials:
        yield Line("")
        yield Line(Ink("denied", "bold"))
        yield Table(tuple(_denial(each) for each in traffic.denials), heads=("times", "by", "what", "code", "why"))
    yield Line("")
    yield _seal(traffic, wrong)


def network_json(row: RunRow, traffic: Traffic, wrong: str) -> dict[str, Any]:
    """Return the same as programs read it: times absolute."""
    return {
        "format": FORMAT,
        "run": row.id,
        "receipts": [_receipt_json(each) for each in traffic.receipts],
        "denials": [each.model_dump(mode="json", exclude={"type", "version"}) for each in traffic.denials],
        "sealed": {"receipt": traffic.sealed.seq, "mac": traffic.sealed.mac} if traffic.sealed else None,
        "records": len(traffic.links),
        "verified": not wrong,
        "why": wrong,
    }


def _receipt_json(receipt: Receipt) -> dict[str, Any]:
    told: dict[str, Any] = {"begun": receipt.begun.model_dump(mode="json"), "ended": None}
    told["begun"]["at"] = iso(receipt.begun.at)
    if receipt.ended is not None:
        told["ended"] = receipt.ended.model_dump(mode="json")
        told["ended"]["at"] = iso(receipt.ended.at)
    return {**told, "unknown": receipt.unknown}


def _call(receipt: Receipt) -> tuple[Cell, ...]:
    begun, ended = receipt.begun, receipt.ended
    port = "" if begun.port == PORTS.get(begun.scheme, 0) else f":{begun.port}"
    query = f"?{begun.query}" if begun.query else ""
    request = f"{begun.method} {begun.scheme}://{begun.host}{port}{begun.path}{query}"
    amounts: tuple[Cell, ...] = ("-", "-", "-")
    if ended is not None:
        amounts = (size(ended.request_bytes), size(ended.response_bytes), span(ended.duration_ms / 1000))
    shape = Ink("!", "warn") if receipt.unknown else Ink("w" if begun.writes else "r", "" if begun.writes else "dim")
    refs = f" {', '.join(begun.refs)}" if begun.refs else ""
    by = begun.identity.value
    return (
        shape,
        str(begun.call),
        by,
        f"{request}{refs}",
        _answer(receipt),
        *amounts,
        begun.rule,
        begun.credential or "",
    )


def _answer(receipt: Receipt) -> Cell:
    ended = receipt.ended
    if ended is None:
        return Ink("unknown: it left, and nothing more is known", "warn")
    if not receipt.left:
        return Ink(f"never left: {ended.why}", "dim")
    if ended.status is None:
        return Ink(f"unknown: {ended.why or 'no answer'}", "warn")
    return str(ended.status) if ended.delivery.value == "answered" else Ink(f"{ended.status}, broken off", "warn")


def _denial(denied: ConnectionDenied) -> tuple[Cell, ...]:
    request = f"{denied.method} " if denied.method else ""
    by = "" if denied.identity is Identity.AGENT else denied.identity.value
    what = f"{request}{denied.host}:{denied.port}{denied.path}"
    return (str(denied.times), by or "agent", what, Ink(denied.code, "warn"), denied.says)


def _seal(traffic: Traffic, wrong: str) -> Line:
    if wrong:
        return Line(Ink("✘ not as the gateway wrote them: ", "bad"), wrong)
    if traffic.sealed is None:
        if not traffic.links:
            return Line(Ink("nothing to seal", "dim"))
        return Line(Ink("▲ never sealed", "warn"), f": {counted(len(traffic.links), 'record')}")
    after = len(traffic.links) - traffic.sealed.seq
    more = f", {counted(after, 'record')} after the seal" if after else ""
    text = f"chain verified, sealed at record {traffic.sealed.seq} ({traffic.sealed.mac[:12]}){more}"
    return Line(Ink("✔ ", "good"), text)
