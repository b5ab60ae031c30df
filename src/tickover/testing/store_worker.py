"""A process of its own for the conformance suite: `python -m tickover.testing.store_worker OPENER LOCATION VERB ...`.

`OPENER` is `module:function`, called with `LOCATION` for the store. Each verb prints a line per durable result,
so that what the parent has read is what this process was told is safe.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

from tickover.store.base import LeaseHeldError, ResourceHeldError, Store

Verb = Callable[..., None]


def append_batches(store: Store, run: str, fence: str, batches: str) -> None:
    """Append batches of three events, `batches` times or for ever (0), printing each last seq."""
    count = 0
    while count != int(batches) or not count:
        count += 1
        say(store.journal.append(run, int(fence), [{"type": "tick", "n": count, "of": i} for i in range(3)]))


def cancel(store: Store, run: str, times: str) -> None:
    """Append one event per transaction from outside the run's lease."""
    for _ in range(int(times)):
        say(store.journal.append(run, 0, [{"type": "cancel_requested", "by": str(os.getpid())}]))


def acquire(store: Store, run: str) -> None:
    """Try once to take the run."""
    try:
        say(f"won {store.leases.acquire(run, str(os.getpid()), 60).fence}")
    except LeaseHeldError:
        say("lost")


def slots(store: Store, run: str, count: str) -> None:
    """Claim slots until none is left."""
    while True:
        try:
            say(store.resources.claim_slot("uid", int(count), run=run, owner=str(os.getpid())).name)
        except ResourceHeldError:
            return


def append_when_told(store: Store, run: str, fence: str) -> None:
    """Append one event for every line on stdin."""
    for line in sys.stdin:
        say(store.journal.append(run, int(fence), [{"type": "tick", "said": line.strip()}]))


def say(what: object) -> None:
    """Print a line that the parent can read at once."""
    print(what, flush=True)  # noqa: T201


VERBS: dict[str, Verb] = {verb.__name__: verb for verb in (append_batches, cancel, acquire, slots, append_when_told)}


def main(opener: str, location: str, verb: str, *rest: str) -> None:
    module, _, function = opener.partition(":")
    store: Store = getattr(importlib.import_module(module), function)(location)
    say("ready")
    sys.stdin.readline()  # several workers start together, when all of them are ready
    try:
        VERBS[verb](store, *rest)
    finally:
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
