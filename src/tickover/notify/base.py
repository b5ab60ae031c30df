"""The port: one message to one target, delivered or an error that says whether to try again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from tickover.core.errors import TickoverError
from tickover.core.notice import Message

Secret: TypeAlias = Callable[[str], bytes]
"""Returns the value of a secret by its name. Raises NotFoundError."""


class NotifyError(TickoverError):
    """It was not delivered. `again`: trying later may help; `after` is seconds, where the receiver named them.

    The sentence goes into the outbox: it never holds an address that is secret, nor any other secret.
    """

    def __init__(self, code: str, message: str, *, again: bool, after: float | None = None, hint: str = "") -> None:
        super().__init__(f"notify.{code}", message, hint=hint)
        self.again = again
        self.after = after


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a receiver needs besides the message: an id that stays the same on every try, and the moment of this one."""

    id: str
    at: float


class Notifier(Protocol):
    """A kind of target. `target` is its model in `core.notice`."""

    async def send(self, message: Message, target: Any, envelope: Envelope, secret: Secret) -> str:
        """Deliver, and return in one line what the receiver said. Raises NotifyError, NotFoundError for a secret."""
        ...
