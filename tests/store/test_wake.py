"""Wake-ups between processes: hints that may be lost, sockets that may be left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickover.store.base import OUTSIDE, EventRefusedError
from tickover.store.sqlite import SqliteStore
from tickover.store.wake import RECHECK, Wakes, _prefix
from tickover.testing.store_suite import CREATED, count_events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ("deep" * 30) / "wake"


@pytest.fixture
def wakes(folder: Path) -> Iterator[Wakes]:
    wakes = Wakes(str(folder))
    yield wakes
    wakes.close()


def test_a_waiter_leaves_nothing_behind_and_sees_what_came_without_a_datagram(wakes: Wakes, folder: Path) -> None:
    answers = iter([1, 1, 2])
    assert wakes.wait("r1", 1, 60, lambda: next(answers)) == 2
    assert os.listdir(folder) == []
    assert RECHECK <= 1


def test_a_datagram_ends_the_sleep(wakes: Wakes, folder: Path) -> None:
    looks = 0

    def last_seq() -> int:
        nonlocal looks
        looks += 1
        if looks == 2:
            assert len(os.listdir(folder)) == 1
            wakes.notify("r2")
            wakes.notify("r1")
        return looks

    assert wakes.wait("r1", 2, 60, last_seq) == 3


def test_a_killed_waiters_socket_is_removed_by_the_next_append(wakes: Wakes, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        path = os.open(folder, os.O_PATH)
        left.bind(f"/proc/self/fd/{path}/{_prefix('r1')}1.x")
        os.close(path)
    wakes.notify("r2")
    assert len(os.listdir(folder)) == 1
    wakes.notify("r1")
    assert os.listdir(folder) == []


def test_a_waiter_that_does_not_read_never_blocks_an_append(wakes: Wakes, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as busy:
        path = os.open(folder, os.O_PATH)
        busy.bind(f"/proc/self/fd/{path}/{_prefix('r1')}1.x")
        os.close(path)
        for _ in range(3000):
            wakes.notify("r1")
        assert len(os.listdir(folder)) == 1


def test_every_append_sends_a_datagram_to_the_runs_waiters_and_a_refused_one_none(tmp_path: Path) -> None:
    with (
        SqliteStore(str(tmp_path / "data"), count_events) as store,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as waiter,
    ):
        folder = os.open(tmp_path / "data" / "wake", os.O_PATH)
        waiter.bind(f"/proc/self/fd/{folder}/{_prefix('r1')}1.x")
        os.close(folder)
        store.journal.append("r2", OUTSIDE, [CREATED])
        with pytest.raises(EventRefusedError):
            store.journal.append("r1", OUTSIDE, [{"type": "No Type"}])
        with pytest.raises(BlockingIOError):
            waiter.recv(1)
        store.journal.append("r1", OUTSIDE, [CREATED])
        assert waiter.recv(1) == b""
