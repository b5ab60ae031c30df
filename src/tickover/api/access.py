"""/api/v1/tokens, /whoami, /audit: who may call, and what was done."""

from __future__ import annotations

from typing import Final

from tickover.api.answers import (
    AuditAnswer,
    AuditsAnswer,
    NewTokenAnswer,
    PageQuery,
    TokenAnswer,
    TokenBody,
    TokensAnswer,
    WhoAnswer,
)
from tickover.api.operation import Answer, Call, Operation
from tickover.core.access import Token
from tickover.core.wire import iso

DAY: Final = 86400.0


async def whoami(call: Call) -> Answer:
    who = call.principal
    return WhoAnswer(owner=who.owner, token=who.token, scopes=list(who.scopes))


async def list_(call: Call) -> Answer:
    found = await call.do(call.desk.access.list)
    return TokensAnswer(tokens=[TokenAnswer.model_validate(told(token, state)) for token, state in found])


async def create(call: Call) -> Answer:
    body: TokenBody = call.body
    token, text = await call.do(
        call.desk.access.create,
        name=body.name,
        owner=body.owner,
        role=body.role,
        scopes=body.scopes,
        lasts=None if body.days is None else body.days * DAY,
        by=call.by,
        origin=call.origin,
    )
    return NewTokenAnswer.model_validate({**told(token, "live"), "token": text})


async def revoke(call: Call) -> Answer:
    token = await call.do(call.desk.access.revoke, call.path("token"), by=call.by, origin=call.origin)
    return TokenAnswer.model_validate(told(token, "revoked"))


async def audit(call: Call) -> Answer:
    query: PageQuery = call.query
    found = await call.do(call.desk.access.audit.list, limit=query.limit, before=query.cursor)
    entries = [
        AuditAnswer(
            id=each.id,
            at=iso(each.at) or "",
            who=each.who,
            what=each.what,
            target=each.target,
            origin=each.origin,
            allowed=each.allowed,
            detail=each.detail,
        )
        for each in found
    ]
    return AuditsAnswer(entries=entries, cursor=found[-1].id if len(found) == query.limit else None)


def told(token: Token, state: str) -> dict[str, object]:
    """Return a token as programs read it: nothing that was derived from its secret."""
    return {
        "id": token.id,
        "name": token.name,
        "owner": token.owner,
        "scopes": list(token.scopes),
        "state": state,
        "created": iso(token.created),
        "made_by": token.made_by,
        "expires": iso(token.expires),
        "last_used": iso(token.last_used),
    }


OPERATIONS: Final = (
    Operation("whoami", "GET", "/api/v1/whoami", "any", "Say whose token this is", whoami, answer=WhoAnswer),
    Operation("tokens_list", "GET", "/api/v1/tokens", "admin", "List tokens", list_, answer=TokensAnswer),
    Operation(
        "token_create", "POST", "/api/v1/tokens", "admin", "Make a token", create, body=TokenBody,
        answer=NewTokenAnswer,
    ),
    Operation(
        "token_revoke", "DELETE", "/api/v1/tokens/{token}", "admin", "End a token", revoke, answer=TokenAnswer,
        errors=(404,),
    ),
    Operation(
        "audit", "GET", "/api/v1/audit", "admin", "Read the audit log, newest first", audit, query=PageQuery,
        answer=AuditsAnswer,
    ),
)  # fmt: skip
