"""Which URL belongs to which trigger, and which triggers an event is for: read from the routines that are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tickover.control.route import Target
from tickover.core.definition import Routine
from tickover.core.routing import trigger_names
from tickover.core.trigger import EventTrigger, GitHubTrigger, SnsTrigger
from tickover.relay.hook import Hook, hook_token
from tickover.relay.providers import PROVIDERS, provider_of, secrets_of

APP_SOURCE: Final = "_app/github"
"""What a GitHub App's own webhook is filed under, and its URL below /hooks; no routine can have such a name."""

FRESH: Final = 1.0
"""Seconds for which the routines are not read again."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A routine as it is in force."""

    routine: Routine
    paused: bool = False


class Triggers:
    """The hooks and targets of an instance, at most a second old: another process may push, pause and resume.

    `key` makes the unguessable part of URLs whose senders have no other proof: 32 random bytes that stay the same.
    `app_secret` names what signs a GitHub App's webhook: one URL for all `github` triggers without their own secret.
    """

    def __init__(
        self,
        installed: Callable[[], Iterable[Installed]],
        key: bytes,
        *,
        clock: Callable[[], float],
        app_secret: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._app_secret = app_secret
        self._installed = installed
        self._key = key
        self._clock = clock
        self._read_at = float("-inf")
        self._hooks: dict[str, Hook] = {}
        self._targets: dict[str, Target] = {}

    def _fresh(self) -> None:
        now = self._clock()
        if 0 <= now - self._read_at < FRESH:
            return
        targets: dict[str, Target] = {}
        hooks: dict[str, Hook] = {}
        secret = self._app_secret()
        for each in self._installed():
            for index, target in _targets(each, app=secret is not None):
                targets[target.name] = target
                hooks[target.name] = hooks[f"{target.routine}/{index}"] = self._hook(target, secret)
        if secret is not None:
            hooks[APP_SOURCE] = Hook(APP_SOURCE, PROVIDERS["github"], (secret,))
        self._targets, self._hooks = targets, hooks
        self._read_at = now  # only now: who asks from another thread meanwhile must not take nothing for an answer

    def hook(self, source: str) -> Hook | None:
        """Find the hook ROUTINE/TRIGGER; the trigger by its name or by its place in `on`."""
        self._fresh()
        return self._hooks.get(source)

    def targets(self, source: str | None) -> Sequence[Target]:
        """List the triggers that events of a source are for; all of them for None."""
        self._fresh()
        if source is None:
            return list(self._targets.values())
        if source == APP_SOURCE:
            return [each for each in self._targets.values() if each.source == APP_SOURCE]
        return [self._targets[source]] if source in self._targets else []

    def urls(self, base: str) -> dict[str, str]:
        """Return each trigger's URL below `base`, the address that senders see."""
        self._fresh()
        names = [*self._targets, *([APP_SOURCE] if APP_SOURCE in self._hooks else [])]
        return {name: f"{base.rstrip('/')}{self._path(name)}" for name in names}

    def _path(self, name: str) -> str:
        token = self._hooks[name].token
        return f"/hooks/{name}" if token is None else f"/hooks/{name}/{token}"

    def _hook(self, target: Target, app_secret: str | None) -> Hook:
        secrets = secrets_of(target.trigger)
        if not secrets and app_secret is not None and isinstance(target.trigger, GitHubTrigger):
            secrets = (app_secret,)
        proved = bool(secrets) or isinstance(target.trigger, SnsTrigger)
        token = None if proved else hook_token(self._key, target.name)
        return Hook(target.name, provider_of(target.trigger), secrets, token, target.paused)


def _targets(each: Installed, *, app: bool) -> Iterator[tuple[int, Target]]:
    """Yield the targets of a routine, each with its place in `on`. `app`: a GitHub App's webhook is set up."""
    routine = each.routine
    for index, (name, trigger) in enumerate(zip(trigger_names(routine.on), routine.on, strict=True)):
        if isinstance(trigger, EventTrigger):
            source = APP_SOURCE if app and isinstance(trigger, GitHubTrigger) and trigger.secret is None else ""
            yield (
                index,
                Target(f"{routine.name}/{name}", routine.name, trigger, bool(routine.may), each.paused, source),
            )
