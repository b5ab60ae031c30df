from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tickover.store.process import is_gone, this_process

SAY = "from tickover.store.process import this_process; print(this_process(), flush=True); input()"


def test_a_living_process_is_not_gone_and_a_dead_one_is() -> None:
    assert not is_gone(this_process())
    with subprocess.Popen(
        [sys.executable, "-c", SAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        assert not is_gone(name)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(name), "a zombie works no more"
    assert is_gone(name)


def test_the_same_pid_started_at_another_time_or_boot_is_another_process() -> None:
    boot, namespace, pid, started = this_process().split(":")
    assert is_gone(f"{boot}:{namespace}:{pid}:{int(started) - 1}")
    assert is_gone(f"another-boot:{namespace}:{pid}:{started}")
    assert not is_gone(f"{boot}:1:{pid}:{int(started) - 1}"), "another pid namespace cannot be seen from here"


@pytest.mark.parametrize("owner", ["", "somebody", "a:b:c:d", "1:2:3"])
def test_a_foreign_name_is_never_called_gone(owner: str) -> None:
    assert not is_gone(owner)
