from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tickover.cli.streams import Lasting
from tickover.testing.app import ScriptedTickover
from tickover.testing.stories import FAILED

Cli = Callable[..., Result]


class Broken(io.StringIO):
    """Takes so many writes, then fails."""

    def __init__(self, number: int, takes: int) -> None:
        super().__init__()
        self._number, self._takes = number, takes

    def write(self, text: str) -> int:
        if self._takes == 0:
            raise OSError(self._number, os.strerror(self._number))
        self._takes -= 1
        return super().write(text)


@pytest.mark.parametrize(
    ("number", "complaint"), [(errno.EPIPE, ""), (errno.ENOSPC, "No space left on device"), (errno.EIO, os.strerror(5))]
)
def test_a_stream_lasts_when_nobody_reads(number: int, complaint: str) -> None:
    file = Broken(number, takes=1)
    stream = Lasting(file)
    assert [stream.write("one"), stream.write("two"), stream.write("three")] == [3, 3, 5]
    assert (file.getvalue(), stream.complaint) == ("one", complaint)


@pytest.mark.parametrize("args", [[], ["--json"]])
def test_a_run_goes_on_to_its_own_exit_code(
    cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    (tmp_path / "count").mkdir()
    (tmp_path / "count/ROUTINE.md").write_text("")
    tickover = ScriptedTickover(home, run="261118-1", script=FAILED)
    stream = Lasting(Broken(errno.ENOSPC, takes=2))
    monkeypatch.setattr("tickover.cli.run.lasting_stdout", lambda: monkeypatch.setattr(sys, "stdout", stream) or stream)
    shown = cli("run", str(tmp_path / "count"), *args, obj=tickover.opening)
    assert shown.exit_code == 5
    assert shown.stderr == "stdout: No space left on device; the run went on without it\n"


def tickover(home: Path, shell: str) -> subprocess.CompletedProcess[str]:
    line = f'"{sys.executable}" -c "from tickover.cli import main; main()" {shell}'
    environment = {**os.environ, "TICKOVER_HOME": str(home)}
    return subprocess.run(["/bin/sh", "-c", line], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(home: Path, closed: str) -> None:
    done = tickover(home, f"runs list --json {closed}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_full_disk_behind_stdout_is_said_once(home: Path) -> None:
    done = tickover(home, "runs list --json >/dev/full")
    assert done.returncode == 1
    assert json.loads(done.stderr)["error"]["code"] == "os.error"
