"""A request that goes out as a GitHub App: with a token made for it, and once more with a new one after a 401."""

from __future__ import annotations

from collections.abc import Callable

from tickover.core.github_app import AppForm
from tickover.gateway.app_tokens import AppTokens, Ask
from tickover.gateway.asked import Asked
from tickover.gateway.guard import Guard


class AsApp:
    """One request's credential. `asked` is what was judged; `ask` reaches the App's API."""

    def __init__(self, credential: str, form: AppForm, asked: Asked, guard: Guard, tokens: AppTokens, ask: Ask) -> None:
        self._credential = credential
        self._form = form
        self._asked = asked
        self._guard = guard
        self._tokens = tokens
        self._ask = ask
        self._value = b""

    @classmethod
    def of(
        cls, credential: str | None, asked: Asked, guard: Guard, tokens: AppTokens, errands: Callable[[AppForm], Ask]
    ) -> AsApp | None:
        """Return it, None where the credential is no App's key."""
        form = guard.app(credential)
        if credential is None or form is None:
            return None
        return cls(credential, form, asked, guard, tokens, errands(form))

    async def dressed(self) -> Asked:
        """Return the request with a token in it. Raises Refusal where none can be had."""
        self._value = await self._tokens.token(
            self._form, self._asked.path, lambda: self._guard.key(self._credential), self._ask
        )
        return self._guard.dress_as_app(self._asked, self._credential, self._value)

    async def again(self, *, repeatable: bool) -> Asked | None:
        """Hear that the answer was 401: the token is not used again. Raises Refusal.

        Return the request with a new token; None where that would do no better, or where it may not be sent twice.
        """
        anew = self._tokens.refused(self._form, self._asked.path, self._value)
        return await self.dressed() if anew and repeatable else None
