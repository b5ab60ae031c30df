"""The gateway's process turns uvloop's loop where that is installed: what moves bytes is tested on both loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tickover.gateway.loop import NAMES, loop_factory

_ON_BOTH = ("test_channel", "test_inspect", "test_plane", "test_splice", "test_tls", "test_wire")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    names = NAMES if item.path.name.startswith(_ON_BOTH) else ("asyncio",)
    return {name: loop_factory(name) for name in names}
