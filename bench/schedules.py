"""A million schedules: what an idle server's question costs beside the bare one, and how many slots it fires a second.

usage: bench/schedules.py [COUNT]

`due` and `next` are what the scheduler asks when nothing is due, through the store; beside each the same statement on a
bare sqlite3 connection to the same file. `advance` notes slots and the next ones, in batches of a thousand. `run` makes
the queued run of a slot, with its journal, fifty in a transaction. On a shared machine trust ratios.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tickover.control.enqueue import Desk
from tickover.control.registry import Registry, plan_of_record
from tickover.control.scheduler import BATCH, Scheduler
from tickover.core.admission import Caps
from tickover.core.schedule import next_slot, offset_of, schedule_id
from tickover.store.blobs import FileBlobs
from tickover.store.projection import project_run
from tickover.store.server import ScheduleRecord
from tickover.store.sqlite import SqliteStore
from tickover.testing.clock import START, FakeClock

ROUTINE = "---\nname: r\nagent: steps\noverlap: queue\n---\n```bash\ntrue\n```\n"
RUNS = 2000


def fill(store: SqliteStore, count: int) -> float:
    """Write so many schedules of one routine; return the seconds."""
    dice = random.Random(1)
    specs = [
        {"cron": f"{minute} {hour} * * *", "time_zone": "Europe/Berlin", "catch_up": "latest", "stagger": "10m"}
        for hour in range(24)
        for minute in (0, 15, 30)
    ]
    plans = [plan_of_record(ScheduleRecord("x", "r", spec, 0.0, 0.0, 0.0)) for spec in specs]
    firsts = [next_slot(plan, START) for plan in plans]
    texts = [json.dumps(spec) for spec in specs]
    rows = []
    for number in range(count):
        which = dice.randrange(len(specs))
        id_ = schedule_id(f"r{number}", specs[which])
        rows.append((id_, "r", texts[which], firsts[which], firsts[which] + offset_of(id_, 600), START, 1))
    begun = time.perf_counter()
    with store._database.writing():
        store._database._connection.executemany("INSERT INTO schedule VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    return time.perf_counter() - begun


def each(call, times: int = 2000) -> float:
    """Return the median microseconds of a call."""
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        took.append(time.perf_counter() - begun)
    return statistics.median(took) * 1e6


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = FakeClock()
        store = SqliteStore(folder, project_run, clock=clock.now)
        registry = Registry(store, Path(folder), clock.now)
        source = Path(folder) / "sources" / "routines" / "r"
        source.mkdir(parents=True)
        (source / "ROUTINE.md").write_text(ROUTINE)
        registry.push(str(source), "bench")
        took = fill(store, count)
        print(f"{count} schedules written in {took:.1f} s, {os.path.getsize(folder + '/tickover.db') >> 20} MiB")

        bare = sqlite3.connect(f"{folder}/tickover.db")
        queries = store._database.queries
        due = each(lambda: store.schedules.due(START, BATCH))
        due_bare = each(lambda: bare.execute(queries["due_schedules"], (START, BATCH)).fetchall())
        following = each(store.schedules.next_fire)
        following_bare = each(lambda: bare.execute(queries["next_fire"]).fetchone())
        bare.close()
        print(f"idle: due {due:.1f} us, bare {due_bare:.1f} us, ratio {due / due_bare:.2f}")
        print(f"idle: next {following:.1f} us, bare {following_bare:.1f} us, ratio {following / following_bare:.2f}")

        desk = Desk(store, FileBlobs(f"{folder}/blobs"), registry, Caps, clock.now, secrets.token_hex)
        scheduler = Scheduler(store.schedules, desk, clock)
        clock.at = START + 86400
        fired, begun, cpu = 0, time.perf_counter(), time.process_time()
        while due_now := store.schedules.due(clock.now(), BATCH):
            steps = [scheduler._advance(record, clock.now(), "") for record in due_now]
            fired += sum(slot.slots for step in steps for slot in step.slots)
            store.schedules.advance(steps)
            if time.perf_counter() - begun > 30:
                break
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        print(
            f"advance: {fired} slots in {took:.1f} s, {fired / took:.0f} a second, {cpu / fired * 1e6:.0f} us CPU each"
        )

        begun, cpu = time.perf_counter(), time.process_time()
        made = []
        while len(made) < RUNS and (slots := store.schedules.open_slots(50)):
            runs = store.queue.enqueue_all([scheduler._wanted(slot) for slot in slots])
            store.schedules.close_slots(
                [(slot.schedule, slot.slot, run) for slot, (run, _) in zip(slots, runs, strict=True)]
            )
            made += slots
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        each_cpu = cpu / len(made) * 1e6
        print(
            f"run: {len(made)} queued runs in {took:.1f} s, {len(made) / took:.0f} a second, {each_cpu:.0f} us CPU each"
        )
        store.close()


main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000)
