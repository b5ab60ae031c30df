"""Tokens in the gateway's process: asked for when they are needed, kept while they live, renewed before they end.

A token belongs to a stored value, so that all sessions of all runs share it, and one that was set anew has its own. A
refresh token may be good for one use only: it is borrowed from the store, under a lock that all processes of this
instance know, and what the endpoint gives in its place is durable before the token that came with it is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from tickover.core.egress import CredentialForm
from tickover.core.errors import TickoverError
from tickover.core.oauth import OAuthGrant
from tickover.gateway.base import LedgerError
from tickover.gateway.fence import boot_time
from tickover.gateway.refusal import Refusal
from tickover.gateway.secrets import SecretError, seal, unseal
from tickover.gateway.session import Sealed
from tickover.gateway.token_request import Minted
from tickover.gateway.values import SealedValues

EARLY_S: Final = 60.0
"""Seconds before a token's end from which it is renewed, or a tenth of its life where that is shorter."""
SURELY_GOOD_S: Final = 10.0
"""Seconds in which a token that was refused is not asked for again: a new one would be refused, too."""


class Lender(Protocol):
    """Who has the stored values: the other side of the channel."""

    async def borrow(self, name: str) -> Sealed:
        """Return the newest stored value; nobody else gets it before it is given back. Raises LedgerError."""

    async def give_back(self, name: str, sealed: Sealed | None) -> None:
        """Return it, None if it is as it was. When this returns a new one is durable. Raises LedgerError."""


Mint = Callable[[OAuthGrant, bytes, bytes | None], Awaitable[Minted]]


@dataclass(slots=True)
class _Held:
    """A stored value's token. Times are of CLOCK_BOOTTIME."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    token: bytes = field(default=b"", repr=False)
    since: float = 0.0
    until: float = 0.0


class Tokens:
    """All tokens of the process, by credential, grant and stored value. `clock` is in seconds of CLOCK_BOOTTIME."""

    def __init__(self, key: bytes, clock: Callable[[], float] = boot_time) -> None:
        self.key = key
        self.clock = clock
        self._held: dict[tuple[str, OAuthGrant, bytes], _Held] = {}

    def held(self, name: str, grant: OAuthGrant, sealed: bytes) -> _Held:
        """Return what is known of a stored value."""
        return self._held.setdefault((name, grant, sealed), _Held())

    def every(self) -> tuple[bytes, ...]:
        """Return the tokens that are there, of whatever credential."""
        return tuple(dict.fromkeys(each.token for each in self._held.values() if each.token))

    def also(self, name: str, grant: OAuthGrant, sealed: bytes, held: _Held) -> None:
        """Note that this stored value has taken another's place."""
        self._held[name, grant, sealed] = held


class OAuthValues:
    """The values of one session (the port `Values`): tokens where there is a grant, else what is stored."""

    def __init__(
        self,
        tokens: Tokens,
        sealed: Mapping[str, Sealed],
        grants: Mapping[str, OAuthGrant],
        mint: Mint,
        lender: Lender,
    ) -> None:
        self._tokens = tokens
        self._stored = SealedValues(tokens.key, sealed)
        self._sealed = sealed
        self._grants = grants
        self._mint = mint
        self._lender = lender

    def every(self) -> Iterator[bytes]:
        """Open all that is stored."""
        return self._stored.every()

    def value(self, name: str) -> bytes:
        """Return a token or a stored value. Raises SecretError, whose text holds neither."""
        if name not in self._grants:
            return self._stored.value(name)
        held = self._of(name)
        if not held.token:
            raise SecretError("secrets.no_token", f"no token of `{name}` was asked for yet")
        return held.token

    async def fresh(self, name: str, *, rejected: bytes | None = None) -> None:
        """Get a token, unless there is one that will do. Raises Refusal."""
        if name not in self._grants:
            return
        # A task of its own: whoever asked may go away, and a refresh token that was used must not be lost with him.
        await asyncio.shield(asyncio.ensure_future(self._renewed(name, rejected)))

    async def _renewed(self, name: str, rejected: bytes | None) -> None:
        held = self._of(name)
        async with held.lock:
            now = self._tokens.clock()
            spoilt = rejected == held.token and now - held.since >= SURELY_GOOD_S
            if held.token and now < held.until and not spoilt:
                return
            try:
                minted = await self._minted(name, self._grants[name], held)
            except (TickoverError, LedgerError) as error:
                code = error.code if isinstance(error, TickoverError) else str(error)
                raise Refusal(503, "credential", f"no token of `{name}` can be had: {code}") from error
            held.token, held.since = minted.token, now
            held.until = now + minted.lasts_s - min(EARLY_S, minted.lasts_s / 10)

    async def _minted(self, name: str, grant: OAuthGrant, held: _Held) -> Minted:
        if grant.grant != "refresh-token":
            return await self._mint(grant, self._stored.value(name), None)
        client = self._stored.value(grant.client_secret) if grant.client_secret else None
        borrowed = await self._lender.borrow(name)
        renewed: Sealed | None = None
        try:
            secret = unseal(self._tokens.key, name=name, kind=borrowed.kind, sealed=borrowed.value)
            minted = await self._mint(grant, secret, client)
            if minted.refresh not in {None, secret}:
                assert minted.refresh is not None
                value = seal(self._tokens.key, name=name, kind=borrowed.kind, value=minted.refresh)
                renewed = Sealed(borrowed.kind, value)
        finally:
            await asyncio.shield(self._lender.give_back(name, renewed))
        for each in (borrowed, renewed):
            if each is not None:
                self._tokens.also(name, grant, each.value, held)
        return minted

    def _of(self, name: str) -> _Held:
        if name not in self._sealed:
            raise SecretError("secrets.missing", f"there is no secret `{name}`, or it was not granted to this run")
        return self._tokens.held(name, self._grants[name], self._sealed[name].value)


def grants_of(forms: Mapping[str, CredentialForm]) -> dict[str, OAuthGrant]:
    """Return the grants among credential forms, by credential."""
    return {name: form.oauth for name, form in forms.items() if form.oauth is not None}
