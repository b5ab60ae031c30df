"""What a store refuses, as one family; `base` gives them on to whoever sees only the ports."""

from __future__ import annotations

from tickover.core.errors import NotFoundError, TickoverError
from tickover.core.text import one_line


class StoreError(TickoverError):
    """The store could not do it; nothing of the call was kept."""


class StoreBusyError(StoreError):
    """Another process held the write lock for longer than the busy timeout."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "store.busy",
            f"another process has been writing to this data folder for {seconds:g} s",
            hint="look for a stuck `tickover` process that uses the same data folder",
        )


class StaleFenceError(StoreError):
    """The caller's lease is no longer the run's current one: somebody else owns the run, or nobody does."""

    def __init__(self, run: str, fence: int, current: int) -> None:
        super().__init__(
            "store.stale_fence",
            f"run {run} is fenced at {current}; a write with fence {fence} is refused",
            hint="this process lost the run's lease and must stop working on it",
        )
        self.run = run
        self.fence = fence
        self.current = current


class LeaseHeldError(StoreError):
    """The run's lease is held and has not expired."""

    def __init__(self, run: str, owner: str, expires_at: float) -> None:
        super().__init__(
            "store.lease_held",
            f"run {run} is being worked on by {owner}",
            hint="wait for it to end, or cancel it; a dead owner's lease expires by itself",
        )
        self.run = run
        self.owner = owner
        self.expires_at = expires_at


class EventRefusedError(StoreError):
    """An event that cannot be a journal row: not JSON, too large, too deep, or without a proper type."""

    def __init__(self, why: str) -> None:
        super().__init__("store.event_refused", f"the event cannot be journalled: {why}")


class RunNotFoundError(NotFoundError):
    """No run of that id has a journal, or its journal has no such event."""

    def __init__(self, run: str, seq: int | None = None) -> None:
        what = f"run {run!r}" if seq is None else f"event {seq} of run {run!r}"
        super().__init__("store.run_not_found", f"there is no {what}", hint="`tickover runs list`")


class NotProvedError(StoreError):
    """State and verifier records move only when a run was proved."""

    def __init__(self, run: str, outcome: str | None) -> None:
        super().__init__(
            "store.not_proved", f"run {run} ended {outcome or 'without an outcome'}: its state is not kept"
        )


class StateConflictError(StoreError):
    """The routine's state moved since the run took its copy."""

    def __init__(self, routine: str, expected: str | None, current: str | None) -> None:
        super().__init__(
            "store.state_conflict",
            f"the state of {routine} is {current or 'empty'}, the run began from {expected or 'empty'}",
            hint="another run of this routine committed its state first; this run's state is discarded",
        )
        self.current = current


class ResourceHeldError(StoreError):
    """That name (or every slot) is taken."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            "store.resource_held",
            f"{kind} {name} is in use",
            hint="`tickover doctor` lists what is held and by whom",
        )


class SecretNotFoundError(NotFoundError):
    """No secret of that name has a value."""

    def __init__(self, name: str) -> None:
        hint = "`tickover secret list` shows those that are"
        super().__init__("secret.not_found", f"there is no secret `{one_line(name, 80)}`", hint=hint)


class BlobNotFoundError(NotFoundError):
    """No blob of that digest is stored."""

    def __init__(self, digest: str) -> None:
        super().__init__("store.blob_not_found", f"there is no blob {digest}")


class BlobDigestError(StoreError):
    """Not the name of a blob: 64 lowercase hex digits."""

    def __init__(self, digest: str) -> None:
        super().__init__("store.blob_digest", f"{digest[:80]!r} is not a sha256 digest")


class BlobCorruptError(StoreError):
    """The stored bytes no longer have the digest they were stored under."""

    def __init__(self, digest: str) -> None:
        super().__init__(
            "store.blob_corrupt",
            f"blob {digest} was changed or damaged on disk",
            hint="restore it from a backup; evidence that points to it can no longer be shown",
        )


class BlobTooLargeError(StoreError):
    """The stream went on after the cap; nothing of it was kept."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__("store.blob_too_large", f"the body is larger than {max_bytes} bytes")
        self.max_bytes = max_bytes
