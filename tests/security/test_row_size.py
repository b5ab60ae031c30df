"""What an agent calls its files cannot make the journal, and every list of runs, heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

NAMES = r"""
import os

os.makedirs("out")
folder = os.open("out", os.O_RDONLY)
for _ in range(15):  # each of these bytes is shown as four characters
    os.mkdir(b"\x01" * 250, dir_fd=folder)
    folder = os.open(b"\x01" * 250, os.O_RDONLY, dir_fd=folder)
for number in range(300):
    os.close(os.open(b"%d" % number, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
open("out/kept", "w").close()
"""


async def test_names_without_end_are_not_kept(bench: Bench) -> None:
    row = await bench.run(bench.routine(f"```python\n{NAMES}```", artifacts=["out/**"]))
    assert row.execution == "completed", bench.said()
    assert [artifact.path for artifact in row.artifacts] == ["out/kept"]
    assert len(row.refused_artifacts) == 100
    assert "artifact_limit" in bench.findings(row)
    assert len(row.model_dump_json()) < 200_000
