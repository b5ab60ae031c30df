"""Input that is no text does not get as far as a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tickover.core.errors import UsageError

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench


@pytest.mark.parametrize("value", ["\udcff", "week\ud800"])
async def test_bytes_that_are_no_text_are_refused(bench: Bench, value: str) -> None:
    """Such an input once broke the check whose URL it was part of, and the run with it."""
    folder = bench.routine(
        "true",
        inputs={"page": {"type": "string"}},
        expect=[{"http": {"url": "http://127.0.0.1:9/{{ inputs.page }}"}}],
    )
    with pytest.raises(UsageError) as caught:
        await bench.run(folder, inputs={"page": value})
    assert caught.value.code == "input.no_text"
    assert bench.tickover.run_rows() == []
