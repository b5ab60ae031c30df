"""`--keep` copies the workspace out; a wish to cancel that comes before the run has begun is not lost."""

from pathlib import Path

import pytest

from tickover.app import RunRequest, Tickover
from tickover.core.status import Execution, Outcome

ROUTINE = """\
---
name: tiny
agent: steps
---
```bash
mkdir -p deep/er
echo kept > deep/er/file
ln -s /etc/passwd link
printf '#!/bin/sh\\n' > run.sh
chmod 755 run.sh
```
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "ROUTINE.md").write_text(ROUTINE)
    return str(folder)


async def test_the_workspace_is_copied_out_without_links(tmp_path: Path, folder: str) -> None:
    async with await Tickover.open(tmp_path / "home") as tickover:
        row = await tickover.run(RunRequest(folder=folder, keep=True))
        [kept] = tickover.kept(row.id)
        plain = await tickover.run(RunRequest(folder=folder))
        assert tickover.kept(plain.id) == []
    assert (kept / "deep/er/file").read_text() == "kept\n"
    assert (kept / "run.sh").stat().st_mode & 0o777 == 0o700
    assert not (kept / "link").is_symlink()
    assert not (kept / "link").exists()


async def test_a_cancel_before_the_lease_cancels(tmp_path: Path, folder: str) -> None:
    async with await Tickover.open(tmp_path / "home") as tickover:
        await tickover.cancel_current()
        row = await tickover.run(RunRequest(folder=folder))
    assert row.execution is Execution.CANCELLED
    assert row.outcome is Outcome.NONE
    assert not row.agent_started
