"""The port of an MCP server: one conversation, in JSON-RPC messages that were parsed and are written anew.

The face (face.py) opens one for each session of an agent, sends `initialize` first, and never sends what an agent
wrote: a message is a value, and the adapter serialises it (`written`). It numbers the requests itself, from 1 on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from typing import Final, Protocol, TypeAlias

from pydantic import JsonValue

from tickover.gateway.refusal import Refusal

Message: TypeAlias = dict[str, JsonValue]
"""One JSON-RPC 2.0 message, never a batch."""

SUBSCRIBE: Final = "resources/subscribe"
UNSUBSCRIBE: Final = "resources/unsubscribe"
LARGEST_ANSWER: Final = 8 << 20
"""Bytes of one message of a server; a longer one ends the conversation."""


class NotSent(Refusal):
    """Nothing of the message left: what it asks for was surely not done."""


class Rejected(Refusal):
    """The server answered, by a status of its own, that it did not take the message."""

    def __init__(self, code: int) -> None:
        super().__init__(502, "upstream_status", f"the server answered {code}")
        self.code = code


class Upstream(Protocol):
    """One conversation with a server. What it says is hostile."""

    def send(self, message: Message) -> AsyncGenerator[Message, None]:
        """Send a message; yield what the server says because of it, as it comes.

        For a request the last one yielded is its answer (`id` is the same). Before it may come notifications, and
        requests of the server's own, which are answered by another `send` meanwhile. For a notification or an answer
        nothing has to be yielded. Closing the generator early gives the exchange up. Several may be under way at once.
        Raises NotSent if nothing left, Rejected where the server said no, else Refusal: it may be over then.
        """

    def listen(self) -> AsyncGenerator[Message, None]:
        """Yield `{}` once the server agrees to say what nobody asked for, then each message, until it ends.

        No answer to a request comes here. Several may be open at once, each message comes by one. Raises as `send`.
        """

    async def close(self) -> None:
        """End the conversation. Idempotent; never raises for what the server does."""


Connect: TypeAlias = Callable[[], Upstream]
"""Begins a conversation; nothing is sent before the first `send`."""


def written(message: Message) -> bytes:
    """Serialise a message: one line of ASCII, every reader's reading the same."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii")
