"""The baseline of `ingest.py`: forty lines that check the same HMAC, commit in the same groups, and do nothing else."""

import asyncio
import hashlib
import hmac
import os
import queue
import socket
import sqlite3
import sys
import threading

import uvicorn

SECRET = b"bench"
waiting: queue.SimpleQueue = queue.SimpleQueue()


def write(folder: str) -> None:
    database = sqlite3.connect(os.path.join(folder, "forty.db"), isolation_level=None)
    for sql in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 8000"):
        database.execute(f"PRAGMA {sql}")
    database.execute("CREATE TABLE event (delivery TEXT PRIMARY KEY, body BLOB)")
    while True:
        batch = [waiting.get()]
        while not waiting.empty() and len(batch) < 256:
            batch.append(waiting.get())
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT OR IGNORE INTO event VALUES (?, ?)", [(name, body) for name, body, _ in batch])
        database.execute("COMMIT")
        batch[0][2].get_loop().call_soon_threadsafe(lambda done=batch: [each[2].set_result(None) for each in done])


async def app(scope, receive, send) -> None:
    headers, body, more = dict(scope["headers"]), b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    expected = b"sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest().encode()
    good = hmac.compare_digest(expected, headers.get(b"x-hub-signature-256", b""))
    if good:
        future = asyncio.get_running_loop().create_future()
        waiting.put((headers[b"x-github-delivery"].decode(), body, future))
        await future
    start = {"type": "http.response.start", "status": 200 if good else 401, "headers": [(b"content-length", b"0")]}
    await send(start)
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    threading.Thread(target=write, args=(sys.argv[1],), daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")).run(sockets=[listener])
