"""An ingest process for tests and figures: `python -m tickover.testing.ingest_server FOLDER`. Prints its port.

One hook, `/hooks/r/github`, with the secret `bench`; a real socket on loopback, a real store. uvicorn serves it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

import uvicorn

from tickover.api.ingest import Ingest
from tickover.relay.hook import Hook
from tickover.relay.providers import PROVIDERS
from tickover.store.blobs import FileBlobs
from tickover.store.sqlite_events import SqliteEvents

SECRET = b"bench"
SOURCE = "r/github"


def serve(app: Any, listener: socket.socket) -> None:
    """Serve until killed: httptools as `up`, no access log; uvloop where it is, while `up` runs on asyncio's loop."""
    config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", timeout_keep_alive=60)
    uvicorn.Server(config).run(sockets=[listener])


def listen() -> socket.socket:
    """Open a port of the kernel's choice on loopback, and say it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)  # noqa: T201
    return listener


def main(folder: str) -> None:
    events = SqliteEvents(folder)
    blobs = FileBlobs(os.path.join(folder, "blobs"))
    hook = Hook(SOURCE, PROVIDERS["github"], ("bench",))
    app = Ingest({SOURCE: hook}.get, lambda _: [SECRET], events, blobs, clock=time.time)
    serve(app, listen())


if __name__ == "__main__":
    main(sys.argv[1])
