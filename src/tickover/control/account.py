"""Asking, before the agent begins, as which account a run's connectors act and whose credential pushes.

It goes the way of the verifier's questions: through the gateway, GET alone, with the agent's own credential put in
there. What the service says is journalled and shown; `who_acts` asks the same outside any run. A credential that it
does not take ends the attempt before its first token; so does a connector that does not answer, if the routine requires
a tool of it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress

from tickover.control.house import House
from tickover.control.install import Alive, Memo
from tickover.control.keep import Kept
from tickover.control.network import Holder, Scribe, Ways
from tickover.control.outreach import ask_connector
from tickover.control.record import Recorder
from tickover.core.account import ASKED, Known, read_account
from tickover.core.connector import KINDS
from tickover.core.definition import Routine
from tickover.core.egress import Egress
from tickover.core.errors import DefinitionErrors, TickoverError
from tickover.core.event import AccountSeen
from tickover.core.github_app import GITHUB_APP
from tickover.core.instance import Instance, egress_of
from tickover.core.permission import PushPermission
from tickover.core.target import read_origin
from tickover.core.text import one_line


async def tell_accounts(house: House, routine: Routine, record: Recorder, kept: Kept, ways: Ways) -> None:
    """Journal who acts. Raises TickoverError `credential.refused`, `connector.unreachable`."""
    instance = await asyncio.to_thread(house.instance)
    names = [name for name in routine.connectors if name in KINDS and _credential(instance, name)]
    found = await asyncio.gather(*(_ask(house, record, kept, instance, name) for name in names))
    asked = dict(zip(names, found, strict=True))
    await record.add(*_seen(instance, asked), *_pushes(routine, ways.agent))
    for name, known in asked.items():
        credential = _credential(instance, name)
        if known.refused:
            text = f"{name} does not take the credential `{credential}`: {known.problem}"
            raise TickoverError("credential.refused", text, hint=f"tickover secret set {credential}")
        if not known.reached and routine.connectors[name].required:
            needs = ", ".join(routine.connectors[name].required)
            text = f"{name} is required ({needs}), and {known.problem}"
            raise TickoverError("connector.unreachable", text)


async def who_acts(house: House, routine: Routine | None = None) -> list[AccountSeen]:
    """Ask the services now, outside any run, who acts: for a routine, else for every connector of the instance.

    Nothing is raised for a service that says no, or nothing; that is what is known.
    """
    instance = await asyncio.to_thread(house.instance)
    wanted = instance.connectors if routine is None else routine.connectors
    names = [name for name in KINDS if name in wanted and _credential(instance, name)]
    pushes = []
    if routine is not None:
        with suppress(DefinitionErrors):  # what this instance can not give is told by who runs it
            pushes = [*_pushes(routine, egress_of(routine, instance, house.presets()))]
    if not names:
        return pushes
    alive, memo = Alive(), Memo(f"accounts-{secrets.token_hex(8)}")
    beating = asyncio.create_task(alive.beat())
    try:
        found = await asyncio.gather(*(_ask(house, memo, alive, instance, name) for name in names))
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    return [*_seen(instance, dict(zip(names, found, strict=True))), *pushes]


def _seen(instance: Instance, found: Mapping[str, Known]) -> list[AccountSeen]:
    return [
        AccountSeen(place=name, credential=_credential(instance, name), account=known.account, problem=known.problem)
        for name, known in found.items()
    ]


async def _ask(house: House, record: Scribe, kept: Holder, instance: Instance, name: str) -> Known:
    """Ask, each time anew: a credential that was revoked a moment ago is not believed."""
    credential = _credential(instance, name)
    known_as = instance.credentials.get(credential)
    if known_as is not None and known_as.kind == GITHUB_APP:
        return Known(problem="it is a GitHub App's key, and an App's tokens are no user's")
    try:
        answer = await ask_connector(house, record, kept, instance, name, credential, ASKED[name])
    except TickoverError as error:
        return Known(problem=one_line(error.message, 200), reached=False)
    return read_account(name, answer.status, answer.body)


def _credential(instance: Instance, name: str) -> str:
    settings = instance.connectors.get(name)
    return settings.credential or "" if settings is not None else ""


def _pushes(routine: Routine, egress: Egress) -> Iterator[AccountSeen]:
    """Yield whose credential pushes: a git server says of nobody who it is."""
    for each in routine.may:
        url = routine.repositories[each.repo].url if isinstance(each, PushPermission) else ""
        if isinstance(each, PushPermission) and url.startswith("https://"):
            _, host, port = read_origin(url)
            for credential in egress.policy.credentials_for(host, port)[:1]:
                yield AccountSeen(place=f"push {each.repo}", credential=credential)
