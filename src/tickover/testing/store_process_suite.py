"""Conformance suite for stores that several processes open at once, and that outlive a killed one.

Subclass `SharedStoreSuite`; `opener` names a function `location -> Store` that a fresh interpreter can import.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from tickover.store.base import Store
from tickover.testing.store_suite import VERIFIED, ManualClock, StoreSuite, count_events


class Worker:
    """A child process that is told lines and answers lines."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self.child, self._stdin, self._stdout = child, child.stdin, child.stdout

    def write_line(self, line: str) -> None:
        self._stdin.write(f"{line}\n")
        self._stdin.flush()

    def read_line(self) -> str:
        return self._stdout.readline().rstrip("\n")

    def read_rest(self, *, status: int = 0) -> list[str]:
        """Read to the end and see how the process ended; a line cut off by its death is left out."""
        lines = [line.rstrip("\n") for line in self._stdout if line.endswith("\n")]
        assert self.child.wait(60) == status
        return lines


def go(*workers: Worker) -> None:
    """Let workers start together."""
    for worker in workers:
        worker.write_line("go")


class SharedStoreSuite(StoreSuite):
    """What a store does that outlives its process and is opened by several."""

    opener: ClassVar[str]
    """`module:function`, from the location to the store, for child processes."""

    @contextmanager
    def worker(self, location: Path, *words: object) -> Iterator[Worker]:
        """Start a fresh interpreter for a verb of `store_worker`: it has opened the store and waits for `go`."""
        argv = [sys.executable, "-m", "tickover.testing.store_worker", self.opener, str(location)]
        child = subprocess.Popen([*argv, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with child:
            try:
                worker = Worker(child)
                assert worker.read_line() == "ready"
                yield worker
            finally:
                child.kill()

    def test_everything_is_there_after_reopening(self, tmp_path: Path, clock: ManualClock) -> None:
        location = str(tmp_path / "data")
        store = self.open_store(location, clock)
        fence = self.begin(store)
        store.journal.append("r1", fence, [VERIFIED])
        store.states.commit("r1", fence, None, "d1")
        store.verifier.record("r1", fence, {"app": "c1"})
        store.resources.claim("uid", "0", run="r1", owner="p1")

        def everything(store: Store) -> list[object]:
            return [
                store.journal.read("r1"),
                store.runs.list(),
                store.leases.current("r1"),
                store.states.current("digest"),
                store.verifier.last_commits("digest"),
                store.resources.list(),
            ]

        before = everything(store)
        store.close()
        again = self.open_store(location, clock)
        assert everything(again) == before
        assert again.journal.append("r1", fence, [{"type": "tick"}]) == 3
        again.close()

    def test_processes_appending_at_once_leave_no_gap(self, store: Store, tmp_path: Path) -> None:
        fence = self.begin(store)
        verbs: list[tuple[object, ...]] = [
            ("append_batches", "r1", fence, 30),
            ("append_batches", "r1", fence, 30),
            ("cancel", "r1", 40),
        ]
        with (
            self.worker(tmp_path / "data", *verbs[0]) as one,
            self.worker(tmp_path / "data", *verbs[1]) as two,
            self.worker(tmp_path / "data", *verbs[2]) as three,
        ):
            go(one, two, three)
            told = [[int(seq) for seq in worker.read_rest()] for worker in (one, two, three)]
        events = store.journal.read("r1", limit=1000)
        assert [event.seq for event in events] == list(range(1, 1 + 1 + 180 + 40))
        assert [len(seqs) for seqs in told] == [30, 30, 40]
        assert len({seq for seqs in told for seq in seqs}) == 100
        ticks = [event.data["of"] for event in events if event.type == "tick"]
        assert ticks == [0, 1, 2] * 60, "a batch was torn apart"
        assert store.runs.get("r1").row == count_events(None, events)

    @pytest.mark.usefixtures("store")
    def test_of_processes_racing_for_a_lease_one_wins(self, tmp_path: Path) -> None:
        with (
            self.worker(tmp_path / "data", "acquire", "r1") as one,
            self.worker(tmp_path / "data", "acquire", "r1") as two,
            self.worker(tmp_path / "data", "acquire", "r1") as three,
        ):
            go(one, two, three)
            said = sorted(line for worker in (one, two, three) for line in worker.read_rest())
        assert said == ["lost", "lost", "won 1"]

    def test_processes_never_share_a_slot(self, store: Store, tmp_path: Path) -> None:
        with (
            self.worker(tmp_path / "data", "slots", "r1", 40) as one,
            self.worker(tmp_path / "data", "slots", "r2", 40) as two,
        ):
            go(one, two)
            names = [int(name) for worker in (one, two) for name in worker.read_rest()]
        assert sorted(names) == list(range(40))
        assert len(store.resources.list(kind="uid")) == 40

    @pytest.mark.parametrize("after", [1, 20, 57])
    def test_a_killed_writer_leaves_whole_batches_and_a_true_row(
        self, store: Store, tmp_path: Path, after: int
    ) -> None:
        fence = self.begin(store)
        with self.worker(tmp_path / "data", "append_batches", "r1", fence, 0) as writer:
            go(writer)
            told = [int(writer.read_line()) for _ in range(after)]
            writer.child.send_signal(signal.SIGKILL)
            told += [int(line) for line in writer.read_rest(status=-signal.SIGKILL)]
        events = store.journal.read("r1", limit=100_000)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert len(events) >= told[-1], "an acknowledged event was lost"
        assert [event.data["of"] for event in events[1:]] == [0, 1, 2] * ((len(events) - 1) // 3)
        record = store.runs.get("r1")
        assert (record.seq, record.row) == (len(events), count_events(None, events))
        assert store.runs.rebuild("r1") == record
        assert store.journal.append("r1", fence, [{"type": "tick"}]) == len(events) + 1

    def test_an_append_wakes_a_waiter_in_another_process(self, store: Store, tmp_path: Path) -> None:
        fence = self.begin(store)
        with self.worker(tmp_path / "data", "append_when_told", "r1", fence) as writer:
            go(writer)
            for seq in (2, 3, 4):
                go(writer)
                assert store.journal.wait("r1", seq - 1, 30) == seq
