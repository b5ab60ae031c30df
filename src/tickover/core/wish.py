"""A wish: somebody or something wants a routine to run. Triggers make wishes, dispatch makes runs of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tickover.core.event import Scalar


@dataclass(frozen=True, slots=True)
class Wish:
    """One wish. `inputs` are typed values; `event` is the delivery's body as it came, hostile.

    `files` are the contents of inputs whose value is a file's path in the sandbox, hostile, too.

    `key` makes it happen once: the same routine and key is the same run (a schedule's slot, a delivery and its
    trigger, an idempotency key). `depth` counts how many runs stand behind it: a routine's own event starts another.
    `not_before` is UTC epoch seconds. `repeats` is the run that the same event started before.
    """

    routine: str
    trigger: str = "manual"
    inputs: Mapping[str, Scalar] = field(default_factory=dict)
    event: bytes | None = None
    key: str | None = None
    by: str = ""
    depth: int = 0
    not_before: float | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    repeats: str | None = None


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of a wish: the run, which may have been there before, or be refused already (a row with a reason).

    `retry_at` is when the same wish would meet the cap that refused it no more (UTC epoch seconds); None: no such time.
    """

    run: str
    created: bool = True
    retry_at: float | None = None
