"""Every route by every scope: the table below is written by hand, and a new route must be put into it."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tickover.api.app import table
from tickover.core.wish import Wish
from tickover.testing.desk import MemoryDesk

WHO = ("nobody", "wrong", "expired", "revoked", "fire:other", "fire:hello", "fire:*", "viewer", "operator", "admin")
PUBLIC = frozenset(WHO)
VALID = frozenset({"fire:other", "fire:hello", "fire:*", "viewer", "operator", "admin"})
READ = frozenset({"viewer", "operator", "admin"})
OPERATE = frozenset({"operator", "admin"})
FIRE = frozenset({"fire:hello", "fire:*", "operator", "admin"})
ADMIN = frozenset({"admin"})

ALLOWED = {
    "fire_drop_in": FIRE,
    "routines_list": READ, "routine_show": READ, "routine_versions": READ,
    "routine_push": OPERATE, "routine_pause": OPERATE, "routine_resume": OPERATE, "routine_fire": FIRE,
    "runs_list": READ, "run_show": READ, "run_events": READ, "run_stream": READ, "run_artifacts": READ,
    "run_artifact": READ, "run_blob": READ, "run_network": READ, "run_cancel": OPERATE,
    "whoami": VALID, "tokens_list": ADMIN, "token_create": ADMIN, "token_revoke": ADMIN, "audit": ADMIN,
    "healthz": PUBLIC, "readyz": PUBLIC, "openapi": PUBLIC,
    "grants_show": READ, "grants_approve": ADMIN,
    "secrets_list": OPERATE, "secret_set": ADMIN, "secret_remove": ADMIN,
    "events_list": READ, "events_rejected": READ, "event_show": READ, "event_body": READ, "event_replay": OPERATE,
    "usage": READ, "schedules": READ, "notices": READ, "metrics": READ,
}  # fmt: skip


def token(desk: MemoryDesk, who: str) -> str | None:
    if who == "nobody":
        return None
    if who == "wrong":
        return desk.token(role="admin")[:-1] + "!"
    if who == "expired":
        return desk.token(role="admin", lasts=0)
    if who == "revoked":
        text = desk.token(role="admin")
        desk.access.revoke(text.split("_")[1], by="test", origin="test")
        return text
    return desk.token(who) if who.startswith("fire:") else desk.token(role=who)


def test_the_table_names_every_route() -> None:
    assert {each.name for each in table()} == set(ALLOWED)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("operation", table(), ids=lambda each: each.name)
async def test_who_may(client: httpx.AsyncClient, desk: MemoryDesk, log: Any, operation: Any, who: str) -> None:
    run = desk.enqueue(Wish("hello")).run
    desk.pause("hello", "test", "so that nothing starts")
    before = len(desk.wishes)
    shown = token(desk, who)
    path = re.sub(r"\{run\}", run, operation.path)
    path = path.replace("{name}", "hello").replace("{token}", "none").replace("{path:path}", "out/a.txt")
    path = path.replace("{secret}", "ops").replace("{event}", "e1")
    headers = {} if shown is None else {"authorization": f"Bearer {shown}"}
    headers |= {"anthropic-version": "2023-06-01", "anthropic-beta": "experimental-cc-routine-2026-04-01"}
    if operation.name == "run_stream":
        from tickover.core.event import RunFinished, RunMissed
        from tickover.core.status import Execution, Outcome

        end = RunFinished(execution=Execution.MISSED, outcome=Outcome.NONE, exit_code=7)
        headers["last-event-id"] = str(desk.tell(run, RunMissed(reason="test"), end))
    answer = await client.request(operation.method, path, headers=headers)
    allowed = who in ALLOWED[operation.name]
    assert (answer.status_code not in {401, 403}) is allowed, answer.text
    assert answer.status_code < 500
    assert not log.errors
    if not allowed:
        wanted = 401 if who in {"nobody", "wrong", "expired", "revoked"} else 403
        if operation.name == "fire_drop_in" and who == "fire:other":
            wanted = 401
        assert answer.status_code == wanted
        assert len(desk.wishes) == before
        refused = [entry for entry in desk.access.audit.list() if not entry.allowed]
        assert bool(refused) is (who in VALID)
