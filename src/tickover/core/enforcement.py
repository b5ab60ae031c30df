"""`may` enforced: one request judged, with the rule that allows it or the reason why none does.

Reading (GET and HEAD without a body) passes on every inspected host; all else is a write and needs a rule. GraphQL
and upgraded connections (WebSocket) count as writes, whatever their method, because nobody sees what they change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import JsonValue

from tickover.core.document import DocumentError, read_json
from tickover.core.matcher import Fields
from tickover.core.permission import Permission, RequestPermission
from tickover.core.push import PushRule, RefUpdate, git_service, judge_push, without_suffix
from tickover.core.target import METHODS, Path, Target, TargetError, read_path, read_query
from tickover.core.text import one_line

READING = frozenset({"GET", "HEAD"})
READ = "read"
"""The rule of everything that only reads."""

MODEL = "model"
"""The rule of what an agent asks its model: a write for the gateway, and none of the work's."""

OVERRIDES = frozenset(
    {
        "x-http-method-override", "x-http-method", "x-method-override", "x-method",
        "x-original-method", "x-original-url", "x-rewrite-url", "x-original-uri",
        "x-original-host", "x-forwarded-host", "x-forwarded-method", "x-forwarded-uri", "x-forwarded-path",
        "x-forwarded-prefix", "x-forwarded-server", "x-host", "forwarded",
    }
)  # fmt: skip
"""Headers by which some servers take another method, path or host than the request line's."""


@dataclass(frozen=True, slots=True)
class JsonBody:
    """A body that says it is JSON and is, each key once."""

    value: JsonValue


@dataclass(frozen=True, slots=True)
class OtherBody:
    """A body that was not read, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class PushBody:
    """The commands of a git push."""

    updates: tuple[RefUpdate, ...]


Body = JsonBody | OtherBody | PushBody | None


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it would leave. `host` is the canonical name that the connection was opened for.

    `body` is None only where there is none; one that was not read is an `OtherBody`.
    """

    method: str
    scheme: str
    host: str
    port: int
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: Body = None

    def header(self, name: str) -> list[str]:
        """Return the values of a header; `_` counts as `-`, as CGI has it."""
        return [value for key, value in self.headers if _plain(key) == name]


@dataclass(frozen=True, slots=True)
class Rule:
    """One request that may be sent. `most` is for the whole run, over all attempts."""

    name: str
    target: Target
    credential: str | None = None
    json: Fields | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Allow:
    """The request may leave. `count_key` is what it counts under, None for a reading one."""

    rule: str
    credential: str | None
    count_key: str | None
    says: str

    @property
    def writes(self) -> bool:
        return self.count_key is not None


@dataclass(frozen=True, slots=True)
class Deny:
    """The request is refused: a stable code and a sentence that the run can read."""

    code: str
    says: str


class Need(StrEnum):
    """What of a request's body must be read before it can be judged."""

    NOTHING = "nothing"
    JSON = "json"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class Powers:
    """What one run may send: its rules, and the repositories it knows (they are read by POST).

    `anything` is the rule of a sandbox whose writes need none of their own: an MCP server that is a program.
    """

    rules: tuple[Rule, ...] = ()
    pushes: tuple[PushRule, ...] = ()
    repositories: tuple[Target, ...] = ()
    anything: str = ""


def rules_of(may: Iterable[Permission]) -> tuple[Rule, ...]:
    """Make the rules of every `request` of `may`. Raises TargetError."""
    return tuple(
        Rule(f"may[{index}]", Target.parse(each.to), each.credential, each.json_, each.max)
        for index, each in enumerate(may)
        if isinstance(each, RequestPermission)
    )


def model_rules(calls: Iterable[str]) -> tuple[Rule, ...]:
    """Make the rules of an agent's calls to its model, each METHOD URL. Raises TargetError."""
    return tuple(Rule(MODEL, Target.parse(call)) for call in calls)


def need(request: Request, powers: Powers) -> Need:
    """Say what must be read of the body, from the head alone."""
    try:
        path = read_path(request.path)
    except TargetError:
        return Need.NOTHING
    service = git_service(path)
    if service is not None and service[0] == "git-receive-pack":
        return Need.PUSH
    asks = any(rule.json and _fits(rule, request, path) for rule in powers.rules)
    return Need.JSON if asks else Need.NOTHING


def read_body(headers: Sequence[tuple[str, str]], body: bytes) -> Body:
    """Read a body as its headers say, so that the server cannot read it as anything else."""
    types = [value for key, value in headers if _plain(key) == "content-type"]
    if any(value.strip().lower() != "identity" for key, value in headers if _plain(key) == "content-encoding"):
        return OtherBody("it is compressed")
    if not body and not types:
        return None
    if len(types) != 1:
        return OtherBody("it does not say once of what type it is")
    media, _, parameters = types[0].lower().partition(";")
    if not re.fullmatch(r"application/(?:[a-z0-9.-]+\+)?json", media.strip()):
        return OtherBody(f"its type is {one_line(media.strip(), 60) or 'empty'}, not JSON")
    if not re.fullmatch(r'\s*(?:charset\s*=\s*"?utf-?8"?\s*)?', parameters):
        return OtherBody("its type names something else than UTF-8")
    try:
        return JsonBody(read_json(body, unique=True))
    except DocumentError as error:
        return OtherBody(f"it is no JSON that is read in one way only: {error}")


def judge_request(
    request: Request, powers: Powers, counts: Mapping[str, int], credentials: Sequence[str] = ()
) -> Allow | Deny:
    """Decide about one request to an inspected host.

    `counts` has how many have left in this run under each count key, over all attempts; `credentials` names those
    that may go to this host and port, in the order of their grants.
    """
    if request.method not in METHODS:
        return Deny("method", f"only {', '.join(METHODS)} pass, in capital letters")
    other = next((name for name in map(_plain, dict(request.headers)) if name in OVERRIDES), None)
    if other:
        return Deny("override", f"the header {other} could make it another request for the server")
    try:
        path, query = read_path(request.path), read_query(request.query)
    except TargetError as error:
        return Deny("path", f"the address is not read in one way only: {error.message}")
    if any(part.partition("=")[0].lower() == "_method" for part in query):
        return Deny("override", "the parameter _method could make it another request for the server")
    if credentials and request.scheme != "https":
        return Deny("cleartext", f"{request.host} has a credential, so nothing goes to it in the clear")
    service = None if powers.anything else git_service(path)
    if service and request.method == "POST":
        return _git(request, service, powers, credentials)
    if _only_reads(request, path, query):
        named = [rule.credential for rule in powers.rules if rule.credential and _fits(rule, request, path)]
        credential = next((each for each in named if each in credentials), _first(credentials))
        return Allow(READ, credential, None, "reading is allowed")
    if powers.anything:
        says = f"{powers.anything} may send what it likes to its own hosts"
        return Allow(powers.anything, _first(credentials), powers.anything, says)
    return _write(request, path, query, powers.rules, counts, credentials)


def _plain(header: str) -> str:
    return header.strip().lower().replace("_", "-")


def _first(credentials: Sequence[str]) -> str | None:
    return credentials[0] if credentials else None


def _only_reads(request: Request, path: Path, query: tuple[str, ...]) -> bool:
    asks_graph = bool(query) and any("graphql" in segment.lower() for segment in path.segments)
    plain = request.method in READING and request.body is None and not request.header("upgrade")
    return plain and not asks_graph


def _git(
    request: Request, service: tuple[str, tuple[str, ...]], powers: Powers, credentials: Sequence[str]
) -> Allow | Deny:
    name, segments = service
    if request.query:
        return Deny("path", f"{name} takes no query")
    if name == "git-upload-pack":
        known = (*powers.repositories, *(rule.remote for rule in powers.pushes))
        if any(_is_repository(target, request, segments) for target in known):
            return Allow(READ, _first(credentials), None, "fetching from the routine's repository is reading")
        return Deny("no_rule", f"/{'/'.join(segments)} is no repository of this routine, so nothing is fetched from it")
    rules = [rule for rule in powers.pushes if _is_repository(rule.remote, request, segments)]
    if not rules:
        return Deny("no_rule", f"no `push` of `may` names the repository {request.host}/{'/'.join(segments)}")
    if not isinstance(request.body, PushBody):
        return Deny("push_unread", "what it would push could not be read, so it does not pass")
    judged = judge_push(request.body.updates, rules)
    for each in judged:
        if each.rule is None:
            return Deny(each.code, each.says)
    used = next((each.rule for each in judged if each.rule), rules[0])
    if used.credential and used.credential not in credentials:
        return _not_bound(used.name, used.credential, request)
    says = "; ".join(each.says for each in judged) or "a push of nothing"
    return Allow(used.name, used.credential or _first(credentials), used.name, says)


def _is_repository(target: Target, request: Request, segments: tuple[str, ...]) -> bool:
    return target.is_at(request.scheme, request.host, request.port) and without_suffix(target.segments) == segments


def _write(
    request: Request,
    path: Path,
    query: tuple[str, ...],
    rules: Sequence[Rule],
    counts: Mapping[str, int],
    credentials: Sequence[str],
) -> Allow | Deny:
    if path.quirks:
        return Deny("path", f"the path has {path.quirks[0]}, which servers read differently, so no rule allows it")
    fitting = [rule for rule in rules if _fits(rule, request, path)]
    denied: Deny | None = None
    for rule in fitting:
        answer = _by_rule(rule, request, query, counts, credentials)
        if isinstance(answer, Allow):
            return answer
        denied = denied or answer
    return denied or Deny("no_rule", _no_rule(request, path, rules))


def _fits(rule: Rule, request: Request, path: Path) -> bool:
    target = rule.target
    return (
        target.method == request.method
        and target.is_at(request.scheme, request.host, request.port)
        and target.leads_to(path)
    )


def _by_rule(
    rule: Rule, request: Request, query: tuple[str, ...], counts: Mapping[str, int], credentials: Sequence[str]
) -> Allow | Deny:
    if not rule.target.asks(query):
        asked = "&".join(rule.target.query) or "none"
        return Deny("query", f"{rule.name} allows it with this query only: {asked}")
    if rule.json is not None:
        wrong = _misfit(rule.json, request.body)
        if wrong:
            return Deny("body", f"{rule.name} does not allow this body: {wrong}")
    gone = counts.get(rule.name, 0)
    if rule.most is not None and gone >= rule.most:
        return Deny("max", f"{rule.name} allows {rule.most} in the whole run, and {gone} left already")
    if rule.credential and rule.credential not in credentials:
        return _not_bound(rule.name, rule.credential, request)
    return Allow(rule.name, rule.credential or _first(credentials), rule.name, f"{rule.name} allows {rule.target}")


def _misfit(wanted: Fields, body: Body) -> str:
    if isinstance(body, JsonBody):
        fits = wanted.matches(body.value, throughout=True)
        return "" if fits else first_misfit(wanted, body.value, throughout=True)
    return body.why if isinstance(body, OtherBody) else "there is none, or none that is JSON"


def first_misfit(wanted: Fields, document: Any, *, throughout: bool = False) -> str:
    """Say the first line of the explanation that is not met, without its mark."""
    clauses = wanted.explain(document, throughout=throughout)
    wrong = [str(clause).strip().removeprefix("✗ ") for clause in clauses if not clause.ok]
    return one_line(wrong[0], 160) if wrong else "it holds what it must not"


def _not_bound(rule: str, credential: str, request: Request) -> Deny:
    where = f"{request.host}:{request.port}"
    return Deny("credential", f"{rule} uses the credential `{credential}`, which may not go to {where}")


def _no_rule(request: Request, path: Path, rules: Sequence[Rule]) -> str:
    asked = one_line(f"{request.method} {request.scheme}://{request.host}{path}", 160)
    here = [rule for rule in rules if rule.target.host == request.host]
    if not here:
        return f"`may` allows no write to {request.host}, so {asked} does not pass"
    near = max(here, key=lambda rule: _alike(rule.target, request, path))
    return f"`may` does not allow {asked}; the nearest is {near.name}: {near.target}"


def _alike(target: Target, request: Request, path: Path) -> int:
    same = sum(ours == theirs for ours, theirs in zip(target.segments, path.segments, strict=False))
    return 2 * same + (target.method == request.method) - abs(len(target.segments) - len(path.segments))
