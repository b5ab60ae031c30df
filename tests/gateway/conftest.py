"""What moves bytes is tested on the loop that the gateway's process turns, the bricks of it on both loops.

With TICKOVER_TEST_BOTH_LOOPS all of it is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

import pytest

from tickover.gateway.loop import NAMES, loop_factory, usual

_BRICKS = ("test_channel", "test_splice", "test_tls", "test_wire")
_MOVES_BYTES = (*_BRICKS, "test_inspect", "test_plane")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    names: tuple[str, ...] = ("asyncio",)
    if item.path.name.startswith(_MOVES_BYTES):
        names = (usual(),)
        if usual() == NAMES[0] and ("TICKOVER_TEST_BOTH_LOOPS" in os.environ or item.path.name.startswith(_BRICKS)):
            names = NAMES
    return {name: loop_factory(name) for name in names}
