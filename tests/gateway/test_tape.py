"""The tape of a session: what a run does a million times fills no disk, and what was cut is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tickover.core.cassette import Header, Take, read_cassette, write_line
from tickover.core.player import DriftKind, Player
from tickover.gateway.asked import Asked
from tickover.gateway.fields import Fields
from tickover.gateway.tape import Recording, Tape

HEADER = Header(run="r", attempt=1, routine="r", routine_version="v", copy_="c", boundary="b")


def asked(path: str) -> Asked:
    return Asked("POST", "https", "api.example.com", 443, path, "", Fields())


def record(file: Path, bodies: list[bytes], *, why: str = "", most: int = 10_000, takes: int = 100) -> list[Take]:
    """Record an exchange for each body, the secret `hunter22` blotted out, and read the takes back."""
    tape = Tape(os.open(file, os.O_CREAT | os.O_RDWR), most=most, takes=takes)
    for number, body in enumerate(bodies):
        recording = Recording(asked(f"/{number}"), None)
        recording.request.add(body)
        recording.response.add(b"fine")
        blot = lambda data: data.replace(b"hunter22", b"[secret]")  # noqa: E731
        tape.end(recording, blot, status=200, whole=True, why=why)
    tape.close()
    return list(read_cassette(write_line(HEADER) + file.read_bytes()).takes)


def test_what_fits_is_whole(tmp_path: Path) -> None:
    takes = record(tmp_path / "tape", [b"one", b"two"])
    assert [(each.path, each.body, each.answer, each.left_out) for each in takes] == [
        ("/0", b"one", b"fine", ""),
        ("/1", b"two", b"fine", ""),
    ]


@pytest.mark.parametrize("body", [b"x" * 2000, b"\x01" * 400, b"\xff" * 1500], ids=["text", "control", "binary"])
def test_what_is_counted_is_what_is_written(tmp_path: Path, body: bytes) -> None:
    takes = record(tmp_path / "tape", [body] * 8)
    assert (tmp_path / "tape").stat().st_size <= 10_000 * 5 // 4 + 1000
    assert [bool(each.body) for each in takes] == [not each.left_out for each in takes]
    assert takes[0].body == body
    assert takes[-1].left_out == "the recording was full"


def test_many_small_requests_end_in_one_line(tmp_path: Path) -> None:
    takes = record(tmp_path / "tape", [b"x"] * 50, takes=5)
    assert len(takes) == 5
    assert (takes[-1].target, takes[-1].left_out[:22]) == ("further requests", "the recording was full")
    assert [each.kind for each in Player(takes[-1:]).unasked()] == [DriftKind.UNASKED]


def test_many_long_addresses_fill_no_disk(tmp_path: Path) -> None:
    takes = record(tmp_path / "tape", [b"x" * 11_000] * 60)
    assert takes[-1].target == "further requests"
    assert (tmp_path / "tape").stat().st_size <= 4000


def test_no_reason_says_a_secret(tmp_path: Path) -> None:
    [take] = record(tmp_path / "tape", [b"x"], why="the server said hunter22")
    assert take.why == "the server said [secret]"
