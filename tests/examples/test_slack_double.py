from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

DOUBLE = Path(__file__).resolve().parents[2] / "examples" / "false-green" / "slack_double.py"


@pytest.fixture
def address() -> Iterator[str]:
    command = [sys.executable, str(DOUBLE), "--with-stdin", "--message", "last week's"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as double:
        assert double.stdout is not None
        yield double.stdout.readline().strip()
        double.communicate(timeout=60)


def messages(address: str) -> list[dict[str, str]]:
    with urllib.request.urlopen(f"{address}/messages", timeout=60) as answer:
        found: list[dict[str, str]] = json.load(answer)["messages"]
    return found


def test_it_lists_what_it_was_sent(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    assert messages(address) == [{"channel": "#eng", "text": "last week's"}]
    body = json.dumps({"channel": "#eng", "text": "Weekly digest"}).encode()
    with urllib.request.urlopen(f"{address}/messages", data=body, timeout=60) as answer:
        assert json.load(answer) == {"ok": True}
    assert messages(address)[-1]["text"] == "Weekly digest"


@pytest.mark.parametrize(("path", "body", "status"), [("/messages", b"[1]", 400), ("/other", b"{}", 404)])
def test_what_it_does_not_understand_is_refused(address: str, path: str, body: bytes, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"{address}{path}", data=body, timeout=60)
    with refusal.value:
        assert refusal.value.code == status
    assert len(messages(address)) == 1
