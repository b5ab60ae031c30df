"""`tickover events`: what came in from outside, what became of it and why; and what it would do elsewhere."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
from pydantic import TypeAdapter, ValidationError

from tickover.cli import options
from tickover.cli.blocks import Line, Table
from tickover.cli.event_page import (
    answer_blocks,
    answer_json,
    event_json,
    event_page,
    event_row,
    rejected_json,
    rejected_table,
)
from tickover.cli.find import find_routine
from tickover.cli.output import print_json, screen
from tickover.cli.wire import FORMAT, iso
from tickover.control import amazon
from tickover.control.backfill import Filled
from tickover.control.rehearse import Rehearsed, event_triggers, rehearse
from tickover.control.replay import again
from tickover.control.triggers import Triggers
from tickover.core.definition import Routine
from tickover.core.errors import NotFoundError, UsageError
from tickover.core.limits import Period
from tickover.core.lookup import MISSING
from tickover.core.trigger import EventTrigger
from tickover.relay.base import Delivery
from tickover.routines.loader import load_folder
from tickover.store.events import EventRecord, Events, Rejected

_SPAN: Final[TypeAdapter[int]] = TypeAdapter(Period)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_Case = tuple[str, str | None, Delivery, str | None]
"""An event's id ("" for a file), its provider if that is known, the delivery, and its name if that is known."""


@click.group(name="events", cls=options.Group)
def command() -> None:
    """List what came in from outside, say what became of it, try it on a routine."""


@command.command(name="list", epilog="\b\nExample:\n  tickover events list --provider github --limit 5")
@click.option("--source", metavar="ROUTINE/TRIGGER", help="Only what came by this hook.")
@click.option("--provider", metavar="NAME", help="Only what this provider sent.")
@click.option("--rejected", is_flag=True, help="What was refused at the door instead: how often, by minute.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, newest first.")
@options.as_json("the events")
@options.home
@options.no_color
def list_(
    *,
    source: str | None,
    provider: str | None,
    rejected: bool,
    limit: int,
    as_json: bool,
    home: Path | None,
    no_color: bool,
) -> None:
    """List events, newest first, with what became of each."""
    with options.reading(home) as tickover:
        events = tickover.events
        if rejected:
            _show_rejected(events.rejections(limit), as_json=as_json, no_color=no_color)
            return
        found = [
            (each, events.routings(each.event)) for each in events.list(source=source, provider=provider, limit=limit)
        ]
    if as_json:
        print_json([event_json(*each) for each in found])
    elif found:
        heads = ("EVENT", "WHEN", "SOURCE", "WHAT", "BECAME")
        screen(no_color=no_color).show(Table(tuple(event_row(*each) for each in found), indent=0, heads=heads))
    else:
        screen(sys.stderr).show(Line("no events"))


@command.command(epilog="\b\nExample:\n  tickover events show e42 --body > payload.json")
@click.argument("event", metavar="ID")
@click.option("--body", is_flag=True, help="Write the body as it came to stdout, and nothing else.")
@options.as_json("all but the body")
@options.home
@options.no_color
def show(event: str, body: bool, as_json: bool, home: Path | None, no_color: bool) -> None:
    """Show an event: where it came from, each trigger's decision with every clause, and its body."""
    with options.reading(home) as tickover:
        record = tickover.events.get(event)
        routings = tickover.events.routings(event)
        content = record.body
        if content is None and record.digest is not None:
            content = tickover.blob(record.digest)
    if body:
        if content is None:
            raise NotFoundError("event.purged", f"the body of {event} is not kept any more")
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
    elif as_json:
        print_json(event_json(record, routings))
    else:
        screen(no_color=no_color).show(*event_page(record, routings, content))


@command.command(epilog="\b\nExample:\n  tickover events replay e42 --to other-routine/github")
@click.argument("event", metavar="ID")
@click.option("--to", metavar="ROUTINE/TRIGGER", help="Another trigger than the one that it came by.")
@options.as_json("the new event")
@options.home
def replay(event: str, to: str | None, as_json: bool, home: Path | None) -> None:
    """Put an event in once more, as a new one that names the old. `events test` tries without doing it."""
    with options.reading(home) as tickover:
        old = tickover.events.get(event)
        new = again(old, to, tickover.installed, now=time.time(), nonce=secrets.token_hex(8))
        put = asyncio.run(tickover.events.put(new))
        tickover.events.ring()
        record = tickover.events.get(put.event)
    if as_json:
        print_json(event_json(record, ()))
    else:
        screen(sys.stderr).show(Line(f"{put.event} is {old.event} again; the server routes it"))


@command.command(epilog="\b\nExample:\n  tickover events confirm e42")
@click.argument("event", metavar="ID")
@options.as_json("what was confirmed")
@options.home
def confirm(event: str, as_json: bool, home: Path | None) -> None:
    """Confirm the subscription that an event of AWS SNS asks for, by visiting the address in it.

    It never happens by itself: whoever confirms agrees to what the topic sends.
    """
    with options.reading(home) as tickover:
        record = tickover.events.get(event)
        if record.body is None:
            raise NotFoundError("event.purged", f"the body of {event} is not kept any more")
        name = asyncio.run(amazon.confirm(record.source, record.body, tickover.installed()))
    if as_json:
        print_json({"format": FORMAT, "event": event, "source": record.source, "subscription": name})
    else:
        screen(sys.stderr).show(Line(f"{record.source} is subscribed: {name}"))


@command.command(epilog="\b\nExample:\n  tickover events backfill --since 1d")
@click.option("--since", metavar="DURATION", help="How far back, at most 3d; without it, since the last time.")
@options.as_json("what was found")
@options.home
def backfill(*, since: str | None, as_json: bool, home: Path | None) -> None:
    """Get what GitHub sent and never arrived. `up` does it by itself where tickover.yaml has `github.backfill`."""
    begin = None if since is None else time.time() - _span(since)
    found = asyncio.run(_look(home, begin))
    told = [
        {
            "format": FORMAT,
            "source": each.source,
            "listed": each.listed,
            "recovered": list(each.recovered),
            "asked_again": each.asked_again,
            "lost": None if each.lost is None else [iso(at) for at in each.lost],
        }
        for each in found
    ]
    if as_json:
        print_json(told)
        return
    out = screen(sys.stderr)
    for each in found:
        out.show(
            Line(f"{each.source}: {each.listed} sent, {len(each.recovered)} recovered, {each.asked_again} asked for")
        )
        if each.lost is not None:
            out.show(
                Line(f"{each.source}: nobody knows what was sent between {iso(each.lost[0])} and {iso(each.lost[1])}")
            )
    if not found:
        out.show(Line("nothing was looked at: from now on it is"))


def _span(text: str) -> int:
    try:
        return _SPAN.validate_python(text)
    except ValidationError:
        raise UsageError("events.since", f"`{text}` is no duration", hint="--since 30m, 12h, 3d") from None


async def _look(home: Path | None, since: float | None) -> Sequence[Filled]:
    async with await options.opener()(home, sandbox=True) as tickover:
        secret = tickover.secrets.instance().github.webhook_secret
        triggers = Triggers(tickover.installed, b"", clock=time.monotonic, app_secret=lambda: secret)
        return await tickover.backfill(lambda: triggers.targets(None)).look(since=since)


@command.command(
    epilog="\b\nExample:\n  tickover events test routines/review --event pr.json --header x-github-event=pull_request"
)
@click.argument("routine", metavar="FOLDER|NAME")
@click.option(
    "--event", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file with its body."
)
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="A header that came with it.")
@click.option("--name", metavar="EVENT", help="What happened, where no header says it: pull_request.opened.")
@click.option("--provider", metavar="NAME", help="Only the triggers of this provider.")
@click.option(
    "--last", type=click.IntRange(1, 1000), metavar="N", help="The last N events that came, instead of a file."
)
@options.as_json("each answer")
@options.home
@options.no_color
def test(
    *,
    routine: str,
    file: Path | None,
    headers: tuple[str, ...],
    name: str | None,
    provider: str | None,
    last: int | None,
    as_json: bool,
    home: Path | None,
    no_color: bool,
) -> None:
    """Say what an event would do at a routine's triggers: each clause, its value, its verdict. Nothing starts."""
    loaded = load_folder(str(find_routine(routine)))
    triggers = list(event_triggers(loaded.routine, provider))
    if not triggers:
        hint = "`on` has: " + (", ".join(each.kind for each in loaded.routine.on) or "nothing")
        raise UsageError("events.no_trigger", "the routine has no such trigger for events", hint=hint)
    if (file is None) is (last is None):
        raise UsageError("events.what", "give either --event FILE or --last N")
    if file is not None:
        given: list[_Case] = [("", None, _delivery(file, headers), name)]
    else:
        with options.reading(home) as tickover:
            given = [
                (record.event, record.provider, _stored(record, tickover.blob), record.name or None)
                for record in _latest(tickover.events, triggers, last or 1)
            ]
    if file is not None and given[0][2].content is MISSING:
        screen(sys.stderr).show(Line(f"{file} is no JSON and no form: no path leads anywhere in it"))
    answers = [(case[0], answer) for case in given for answer in asyncio.run(_all(loaded.routine, triggers, case))]
    if as_json:
        print_json([answer_json(*each) for each in answers])
        return
    out = screen(no_color=no_color)
    for event, answer in answers:
        out.show(*answer_blocks(event, answer))
    if not answers:
        screen(sys.stderr).show(Line("no events of such providers have come yet"))


async def _all(routine: Routine, triggers: Sequence[tuple[str, EventTrigger]], case: _Case) -> list[Rehearsed]:
    _, provider, delivery, named = case
    found = []
    for name, trigger in triggers:
        if provider not in (None, trigger.kind):
            continue
        if named is None and trigger.kind == "github" and "x-github-event" not in delivery.headers:
            hint = "--header x-github-event=pull_request, or --name pull_request.opened"
            raise UsageError("events.name", "a GitHub event's name stands in a header, not in its body", hint=hint)
        found.append(await rehearse(routine, name, trigger, delivery, event=named))
    return found


def _show_rejected(found: Sequence[Rejected], *, as_json: bool, no_color: bool) -> None:
    if as_json:
        print_json([rejected_json(each) for each in found])
    elif found:
        screen(no_color=no_color).show(rejected_table(found))
    else:
        screen(sys.stderr).show(Line("nothing was refused"))


def _latest(events: Events, triggers: Sequence[tuple[str, EventTrigger]], count: int) -> list[EventRecord]:
    kinds = sorted({trigger.kind for _, trigger in triggers})
    found = [record for kind in kinds for record in events.list(provider=kind, limit=count)]
    newest = sorted(found, key=lambda record: record.received_at, reverse=True)[:count]
    return [events.get(record.event) for record in newest]


def _stored(record: EventRecord, blob: Callable[[str], bytes]) -> Delivery:
    body = record.body if record.body is not None else blob(record.digest) if record.digest else b""
    return Delivery(record.headers, body)


def _delivery(file: Path, headers: Sequence[str]) -> Delivery:
    pairs = [header.partition("=") for header in headers]
    if wrong := next((name for name, sign, _ in pairs if not sign), None):
        raise UsageError("events.header", f"`{wrong}` is no header", hint="--header NAME=VALUE")
    named = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Delivery(named, file.read_bytes())
