"""Events as people and programs see them. What is shown of them is hostile; the painters make it printable."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tickover.cli.blocks import Block, Ink, Line, Quote, Table
from tickover.cli.output import json_text
from tickover.cli.wire import FORMAT, iso
from tickover.cli.words import ago, size
from tickover.control.rehearse import Rehearsed
from tickover.control.route import clause_map
from tickover.store.events import EventRecord, Rejected, Routing

_LOOKS: Final = {"fired": "good", "failed": "bad", "dropped": "warn", "held": "wait"}
_QUOTED: Final = 20_000


def event_row(record: EventRecord, routings: Sequence[Routing]) -> tuple[Ink | str, ...]:
    """Return an event's line in the list."""
    what = f"{record.provider} {record.name}".strip()
    return (record.event, ago(record.received_at, time.time()), record.source, what, _fate(routings))


def _fate(routings: Sequence[Routing]) -> Ink:
    if not routings:
        return Ink("not routed yet", "wait")
    best = next((each for each in routings if each.verdict == "fired"), routings[0])
    more = best.run or best.says or best.reason
    return Ink(f"{best.verdict}: {more}" if more else best.verdict, _LOOKS.get(best.verdict, "dim"))


def event_page(record: EventRecord, routings: Sequence[Routing], content: bytes | None) -> Iterator[Block]:
    """Yield all of an event; `content` is its body, None if it is not kept any more."""
    yield Line(Ink(record.event, "bold"), Ink(f"  {record.provider} {record.name}", "bold"))
    facts = [
        ("source", record.source),
        ("delivery", record.delivery),
        ("received", f"{iso(record.received_at)} ({ago(record.received_at, time.time())})"),
        ("size", size(record.size)),
        *((name, value) for name, value in record.headers.items()),
    ]
    if record.replay_of:
        facts.append(("replay of", record.replay_of))
    yield Table(tuple((Ink(name, "dim"), value) for name, value in facts))
    for routing in routings:
        yield Line("")
        yield Line(Ink(routing.target, "bold"), "  ", _fate([routing]))
        yield Table(tuple(_clause(each) for each in routing.clauses))
    if content is not None:
        yield Line("")
        yield Quote(content[:_QUOTED].decode("utf-8", "replace"))
        if len(content) > _QUOTED:
            yield Line(Ink(f"and {size(len(content) - _QUOTED)} more: --body writes all of it", "dim"), indent=2)


def _clause(clause: Any) -> tuple[Ink | str, ...]:
    value = "nothing" if clause["missing"] else json_text(clause["value"])
    mark = Ink("✓", "good") if clause["ok"] else Ink("✗", "bad")
    return (mark, f"{'  ' * clause['depth']}{clause['path']} {clause['says']}", Ink(f"got {value}", "dim"))


def answer_blocks(event: str, answer: Rehearsed) -> Iterator[Block]:
    """Yield what an event would do at one trigger."""
    fires = answer.judged.fires and answer.error is None
    words = Ink("fires", "good") if fires else Ink(f"does not fire: {answer.judged.reason or 'input'}", "warn")
    yield Line(Ink(f"{event} ".lstrip() + answer.trigger, "bold"), Ink(f"  {answer.event}  ", "dim"), words)
    yield Table(tuple(_clause(clause_map(clause)) for clause in answer.judged.clauses))
    if answer.inputs:
        yield Table(tuple((Ink("input", "dim"), name, json_text(value)) for name, value in answer.inputs.items()))
    if answer.error is not None:
        yield Table(((Ink("✗", "bad"), answer.error.code, answer.error.message),))


def rejected_table(found: Sequence[Rejected]) -> Table:
    """Return what was refused, a row for each source, reason and minute."""
    rows = [
        (iso(each.minute * 60.0) or "", each.source or "(unknown)", each.reason, str(each.count), _who(each))
        for each in found
    ]
    return Table(tuple(rows), indent=0, heads=("MINUTE", "SOURCE", "REASON", "TIMES", "FIRST"))


def _who(each: Rejected) -> str:
    return f"{each.sample.get('client', '')} {each.sample.get('user_agent', '')}".strip()


def rejected_json(each: Rejected) -> dict[str, Any]:
    """Return a counted refusal for programs."""
    told = {"source": each.source, "reason": each.reason, "count": each.count, "sample": dict(each.sample)}
    return {"format": FORMAT, "at": iso(each.minute * 60.0), **told}


def event_json(record: EventRecord, routings: Sequence[Routing]) -> dict[str, Any]:
    """Return an event for programs."""
    return {
        "format": FORMAT,
        "event": record.event,
        "source": record.source,
        "provider": record.provider,
        "name": record.name,
        "delivery": record.delivery,
        "received_at": iso(record.received_at),
        "headers": record.headers,
        "size": record.size,
        "state": record.state,
        "replay_of": record.replay_of,
        "routings": [_routing_json(each) for each in routings],
    }


def _routing_json(routing: Routing) -> dict[str, Any]:
    return {
        "target": routing.target,
        "at": iso(routing.at),
        "verdict": routing.verdict,
        "reason": routing.reason,
        "says": routing.says,
        "run": routing.run,
        "starts_at": iso(routing.starts_at),
        "depth": routing.depth,
        "clauses": [dict(each) for each in routing.clauses],
    }


def answer_json(event: str, answer: Rehearsed) -> dict[str, Any]:
    """Return what an event would do, for programs."""
    return {
        "format": FORMAT,
        "event": event or None,
        "name": answer.event,
        "trigger": answer.trigger,
        "fires": answer.judged.fires and answer.error is None,
        "reason": answer.judged.reason or (answer.error.code if answer.error else ""),
        "clauses": [clause_map(clause) for clause in answer.judged.clauses],
        "inputs": answer.inputs,
        "error": answer.error.as_dict() if answer.error else None,
    }
