from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tickover.api.app import Api
from tickover.testing.desk import MemoryDesk


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.infos: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.infos.append({"event": event, **fields})

    def error(self, event: str, **fields: Any) -> None:
        self.errors.append({"event": event, **fields})


@pytest.fixture
def desk() -> MemoryDesk:
    return MemoryDesk("hello", "other")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def api(desk: MemoryDesk, log: Log) -> AsyncIterator[Api]:
    made = Api(desk, log=log)
    yield made
    made.close()


@pytest.fixture
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(api.asgi, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://server.test") as made:
        yield made


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
