"""/api/v1/routines/NAME/grants and /secrets: what the owner of the server decides. A value goes in, and never out."""

from __future__ import annotations

from typing import Final

from tickover.api.answers import (
    AskAnswer,
    DoneAnswer,
    GrantBody,
    GrantsAnswer,
    SecretAnswer,
    SecretBody,
    SecretsAnswer,
)
from tickover.api.base import Asked, Kept
from tickover.api.fire import routine_name
from tickover.api.operation import Answer, Call, Operation
from tickover.core.wire import iso


async def grants(call: Call) -> Answer:
    return _grants(await call.do(call.desk.pushed_grants, routine_name(call)), granted=False)


async def grant(call: Call) -> Answer:
    name = routine_name(call)
    return _grants(await call.do(call.desk.grant_pushed, name, call.body.digest, by=call.by), granted=True)


def _grants(view: Asked, *, granted: bool) -> GrantsAnswer:
    return GrantsAnswer(
        routine=view.routine,
        version=view.version,
        digest=view.digest,
        new=[AskAnswer(kind=str(each.kind), says=each.says) for each in view.new],
        kept=[AskAnswer(kind=str(each.kind), says=each.says) for each in view.kept],
        gone=list(view.gone),
        granted=granted or not (view.new or view.gone),
    )


async def secrets(call: Call) -> Answer:
    return SecretsAnswer(secrets=[_secret(each) for each in await call.do(call.desk.secret_list)])


async def set_(call: Call) -> Answer:
    body: SecretBody = call.body
    form = body.model_dump(mode="json", exclude={"value"}, exclude_none=True)
    value = body.value.get_secret_value().encode("utf-8", "replace")
    return _secret(await call.do(call.desk.secret_set, call.path("secret"), value, by=call.by, binding=form or None))


async def remove(call: Call) -> Answer:
    await call.do(call.desk.secret_remove, call.path("secret"))
    return DoneAnswer()


def _secret(kept: Kept) -> SecretAnswer:
    record, credential = kept.record, kept.credential
    return SecretAnswer(
        name=kept.name,
        kind=kept.kind,
        hosts=list(credential.hosts) if credential else [],
        in_file=kept.in_file,
        version=record.version if record else None,
        set_at=iso(record.set_at) if record else None,
        set_by=record.set_by if record else None,
    )


_GRANTS: Final = "/api/v1/routines/{name}/grants"
_ONE: Final = "/api/v1/secrets/{secret}"
OPERATIONS: Final = (
    Operation(
        "grants_show", "GET", _GRANTS, "read", "Compare what a routine asks for with what it was granted", grants,
        answer=GrantsAnswer, errors=(404,),
    ),
    Operation(
        "grants_approve", "POST", _GRANTS, "admin", "Grant exactly what was shown, named by its digest", grant,
        body=GrantBody, answer=GrantsAnswer, audit="routine.grant", errors=(404, 409),
    ),
    Operation(
        "secrets_list", "GET", "/api/v1/secrets", "operate", "List secrets, without their values", secrets,
        answer=SecretsAnswer,
    ),
    Operation(
        "secret_set", "POST", _ONE, "admin", "Set a secret's value; set again, it is rotated", set_, body=SecretBody,
        answer=SecretAnswer, audit="secret.set",
    ),
    Operation(
        "secret_remove", "DELETE", _ONE, "admin", "Overwrite a secret's value", remove, answer=DoneAnswer,
        audit="secret.remove", errors=(404,),
    ),
)  # fmt: skip
