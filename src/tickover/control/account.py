"""Asking, before the agent begins, as which account a run's connectors act and whose credential pushes.

It goes the way of the verifier's questions: through the gateway, GET alone, with the agent's own credential put in
there. What the service says is journalled and shown. A credential that it does not take ends the attempt before its
first token; so does a connector that does not answer, if the routine requires a tool of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from tickover.control.house import House
from tickover.control.keep import Kept
from tickover.control.network import Ways
from tickover.control.outreach import ask_connector
from tickover.control.record import Recorder
from tickover.core.account import ASKED, Known, read_account
from tickover.core.connector import KINDS, connected
from tickover.core.definition import Routine
from tickover.core.errors import TickoverError
from tickover.core.event import AccountSeen
from tickover.core.instance import Instance
from tickover.core.permission import PushPermission
from tickover.core.target import read_origin
from tickover.core.text import one_line


async def tell_accounts(house: House, routine: Routine, record: Recorder, kept: Kept, ways: Ways) -> None:
    """Journal who acts. Raises TickoverError `credential.refused`, `connector.unreachable`."""
    instance = await asyncio.to_thread(house.instance)
    names = [name for name in routine.connectors if name in KINDS and _credential(instance, name)]
    found = await asyncio.gather(*(_ask(house, record, kept, instance, name) for name in names))
    seen = [
        AccountSeen(place=name, credential=_credential(instance, name), account=known.account, problem=known.problem)
        for name, known in zip(names, found, strict=True)
    ]
    await record.add(*seen, *_pushes(routine, ways))
    for name, known in zip(names, found, strict=True):
        credential = _credential(instance, name)
        if known.refused:
            text = f"{name} does not take the credential `{credential}`: {known.problem}"
            raise TickoverError("credential.refused", text, hint=f"tickover secret set {credential}")
        if not known.reached and routine.connectors[name].required:
            needs = ", ".join(routine.connectors[name].required)
            text = f"{name} is required ({needs}), and {known.problem}"
            raise TickoverError("connector.unreachable", text)


async def _ask(house: House, record: Recorder, kept: Kept, instance: Instance, name: str) -> Known:
    credential = _credential(instance, name)
    try:
        version = (await asyncio.to_thread(house.store.secrets.get, credential)).version
        key = (connected(name, instance.connectors, name).url, credential, version)
        if (known := house.accounts.fresh(key, time.monotonic())) is not None:
            return known
        answer = await ask_connector(house, record, kept, instance, name, credential, ASKED[name])
    except TickoverError as error:
        return Known(problem=one_line(error.message, 200), reached=False)
    known = read_account(name, answer.status, answer.body)
    house.accounts.known[key] = time.monotonic(), known
    return known


def _credential(instance: Instance, name: str) -> str:
    settings = instance.connectors.get(name)
    return settings.credential or "" if settings is not None else ""


def _pushes(routine: Routine, ways: Ways) -> Iterator[AccountSeen]:
    """Yield whose credential pushes: a git server says of nobody who it is."""
    for each in routine.may:
        url = routine.repositories[each.repo].url if isinstance(each, PushPermission) else ""
        if isinstance(each, PushPermission) and url.startswith("https://"):
            _, host, port = read_origin(url)
            for credential in ways.agent.policy.credentials_for(host, port)[:1]:
                yield AccountSeen(place=f"push {each.repo}", credential=credential)
