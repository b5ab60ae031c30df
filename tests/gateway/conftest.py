"""What moves bytes is tested on both loops if TICKOVER_TEST_UVLOOP is set: on uvloop's a rare test hangs (decision 9)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

import pytest

from tickover.gateway.loop import NAMES, loop_factory

_ON_BOTH = ("test_channel", "test_inspect", "test_plane", "test_splice", "test_tls", "test_wire")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    both = "TICKOVER_TEST_UVLOOP" in os.environ and item.path.name.startswith(_ON_BOTH)
    names = NAMES if both else ("asyncio",)
    return {name: loop_factory(name) for name in names}
