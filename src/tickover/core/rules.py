"""The rules that bind several keys of a definition together. `problems` finds all that are broken."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tickover.core.check import Check, CommandCheck, Gated, GitCheck, GitHubCheck, HttpCheck, SqlCheck
from tickover.core.definition import Model, Routine
from tickover.core.gate import DEAF
from tickover.core.permission import ConnectorPermission, PushPermission
from tickover.core.push import NO_REF
from tickover.core.template import IN_CHECKS, IN_REFS, TemplateError, references
from tickover.core.trigger import EventTrigger, WebhookTrigger

KeyPath = tuple[str | int, ...]


class Problem(NamedTuple):
    """One broken rule and the key where it shows."""

    code: str
    message: str
    at: KeyPath
    hint: str = ""


def problems(routine: Routine) -> list[Problem]:
    """Every broken rule, in the order of the keys."""
    rules = (_agent, _inputs, _repositories, _environment, _connectors, _triggers, _permissions, _checks, _limits)
    return [problem for rule in rules for problem in rule(routine)]


def _agent(routine: Routine) -> Iterator[Problem]:
    agent = routine.agent_name
    if agent in {"command", "acp"} and routine.argv is None:
        yield Problem("definition.argv", f"agent `{agent}` needs `argv`, the program to start", ("agent",))
    if agent not in {"command", "acp"} and routine.argv is not None:
        yield Problem("definition.argv", f"agent `{agent}` takes no `argv`", ("argv",), "it is for command and acp")
    if agent == "command" and routine.body.strip():
        yield Problem("definition.body", "agent `command` has no prompt: the body must be empty", ("agent",))
    if (agent == "remote") is not (routine.remote is not None):
        yield Problem("definition.remote", "`remote` and `agent: remote` belong together", ("agent",))
    if routine.remote and (routine.remote.to == "none") is not (routine.remote.url is None):
        yield Problem("definition.remote", "`url` says where to: needed unless `to: none`", ("remote",))
    if isinstance(routine.model, Model) and agent != "loop":
        yield Problem("definition.model", "a model with its own `url` is for agent `loop`", ("model",))
    if agent == "loop" and not isinstance(routine.model, Model):
        yield Problem("definition.model", "agent `loop` needs `model: {name, url, wire}`", ("agent",))
    if routine.system_prompt == "replace" and agent != "claude-code":
        yield Problem("definition.system_prompt", "`replace` is for agent `claude-code`", ("system_prompt",))


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
}  # fmt: skip


def _inputs(routine: Routine) -> Iterator[Problem]:
    for name, each in routine.inputs.items():
        if each.default is not None and type(each.default) not in _TYPES[each.type]:
            yield Problem("definition.default", f"the default is no {each.type}", ("inputs", name, "default"))


def _repositories(routine: Routine) -> Iterator[Problem]:
    for name, repository in routine.repositories.items():
        at: KeyPath = ("repositories", name)
        if repository.trusted_ref is not None and "{{" in repository.trusted_ref:
            text = "`trusted_ref` is never taken from an event: an event must not choose what is trusted"
            yield Problem("definition.trusted_ref", text, (*at, "trusted_ref"))
        for key, ref in (("ref", repository.ref), ("trusted_ref", repository.trusted_ref)):
            if ref is None:
                continue
            if "{{" in ref:
                yield from _template(ref, IN_REFS, (*at, key), routine)
            elif NO_REF.search(ref):
                yield Problem("definition.ref", "not a name that git allows for a branch, tag or commit", (*at, key))


def _environment(routine: Routine) -> Iterator[Problem]:
    several = len(routine.repositories) > 1
    for index, path in enumerate(routine.environment.setup.files):
        repo, colon, _ = path.partition(":")
        at: KeyPath = ("environment", "setup", "files", index)
        if several and repo not in routine.repositories:
            yield Problem("definition.setup_file", "with several repositories a file is REPO:PATH", at)
        elif colon and not several:
            yield Problem("definition.setup_file", "REPO: is for several repositories; write the path", at)
    if routine.environment.setup.files and routine.environment.setup.run is None:
        yield Problem("definition.setup", "`files` without `run` has no use", ("environment", "setup"))


def _connectors(routine: Routine) -> Iterator[Problem]:
    for name, connector in routine.connectors.items():
        extra = sorted(set(connector.required) - set(connector.tools))
        if extra:
            text = f"required but not in `tools`: {', '.join(extra)}"
            yield Problem("definition.required", text, ("connectors", name, "required"))


def _triggers(routine: Routine) -> Iterator[Problem]:
    for index, trigger in enumerate(routine.on):
        at: KeyPath = ("on", index, trigger.kind)
        if isinstance(trigger, EventTrigger) and "jsonata" in trigger.input and len(trigger.input) > 1:
            yield Problem("definition.input", "`jsonata` makes the whole input, so it stands alone", (*at, "input"))
        if isinstance(trigger, WebhookTrigger):
            verify = trigger.verify
            uses_kv = "{kv:" in verify.signed or (verify.ts or "").startswith("kv:")
            if verify.token and verify.model_fields_set - {"token", "secret"}:
                yield Problem("definition.verify", "beside `token` only `secret` has a meaning", (*at, "verify"))
            if uses_kv and not (verify.sig and verify.sig.kv):
                yield Problem("definition.verify", "`kv:` needs `sig` with `kv: true`", (*at, "verify"))


def _permissions(routine: Routine) -> Iterator[Problem]:
    for index, permission in enumerate(routine.may):
        at: KeyPath = ("may", index, permission.kind)
        if isinstance(permission, PushPermission) and permission.repo not in routine.repositories:
            yield _unknown("repository", permission.repo, routine.repositories, (*at, "repo"))
        if isinstance(permission, ConnectorPermission) and permission.kind not in routine.connectors:
            yield _unknown("connector", permission.kind, ("push", "request", *routine.connectors), at)
    for index, permission in enumerate(routine.approve):
        if permission not in routine.may:
            text = "`approve` repeats entries of `may`, and this is none"
            yield Problem("definition.approve", text, ("approve", index))


def _checks(routine: Routine) -> Iterator[Problem]:
    for name, checks in (("expect", routine.expect), ("noop", routine.noop)):
        for index, check in enumerate(checks):
            at: KeyPath = (name, index, check.kind)
            if isinstance(check, Gated) and check.stop_gate is not None and routine.agent_name in DEAF:
                text = f"nobody can tell the agent `{routine.agent_name}` to go on, so it has no stop gate"
                yield Problem("definition.stop_gate", text, (*at, "stop_gate"))
            if name == "noop" and check.guard:
                yield Problem("definition.guard", "a guard belongs in `expect`", (*at, "guard"))
            yield from _check(routine, check, at)
    if routine.only_if:
        yield from _template(routine.only_if.run, IN_CHECKS, ("only_if", "run"), routine)


def _check(routine: Routine, check: Check, at: KeyPath) -> Iterator[Problem]:
    if isinstance(check, GitCheck):
        if check.repo not in routine.repositories:
            yield _unknown("repository", check.repo, routine.repositories, (*at, "repo"))
        if check.in_ == "subject" and "within" in check.model_fields_set:
            yield Problem(
                "definition.within", "`within` waits for the outside world: not `in: subject`", (*at, "within")
            )
        if check.range is not None and check.commits is None:
            yield Problem("definition.git", "`range` needs `commits`: how many there should be", at)
        if (check.ref or check.range or "").startswith("-"):
            yield Problem("definition.ref", "a ref does not begin with -", at)
    if isinstance(check, CommandCheck) and check.subject.restore:
        if not check.subject.run:
            yield Problem("definition.restore", "`restore` needs `run: true`", (*at, "subject", "restore"))
        if len(routine.repositories) != 1:
            yield Problem("definition.restore", "`restore` needs exactly one repository", (*at, "subject", "restore"))
    if isinstance(check, GitHubCheck) and check.contains and not (check.review_by or check.comment_by):
        yield Problem("definition.contains", "`contains` needs `review_by` or `comment_by`", (*at, "contains"))
    if isinstance(check, SqlCheck) and check.connector not in routine.connectors:
        yield _unknown("connector", check.connector, routine.connectors, (*at, "connector"))
    if isinstance(check, SqlCheck) and "{{" in check.query:
        text = "a query is no template, or an event could say what is asked: write $1, and put it in `values`"
        yield Problem("template.query", text, (*at, "query"))
    if isinstance(check, HttpCheck) and check.url.startswith("{{") and not re.match(r"\{\{\s*inputs\.", check.url):
        yield Problem("template.unknown", "only an input may say which host is asked", (*at, "url"))
    plain = check.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for path, text in _texts(plain, ()):
        if "{{" in text and _is_pattern(path):
            yield Problem(
                "template.pattern", "a value has no place in a pattern: it could match anything", (*at, *path)
            )
        else:
            yield from _template(text, IN_CHECKS, (*at, *path), routine)


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, (*path, key))


def _is_pattern(path: KeyPath) -> bool:
    operators = {f"{no}{name}" for no in ("", "not_") for name in ("matches", "search", "glob")}
    return any(part in operators for part in path)


def _template(text: str, allowed: Sequence[str], at: KeyPath, routine: Routine) -> Iterator[Problem]:
    try:
        paths = references(text, allowed)
    except TemplateError as error:
        yield Problem(error.code, error.message, at, error.hint)
        return
    for path in paths:
        if path.parts[0] == "inputs" and (len(path.parts) != 2 or path.parts[1] not in routine.inputs):
            known = ", ".join(routine.inputs) or "none"
            yield Problem("template.input", f"`{path}` is not declared in `inputs`", at, f"declared: {known}")


def _limits(routine: Routine) -> Iterator[Problem]:
    if routine.state and routine.limits.concurrent > 1:
        text = "`state` is one folder that runs hand on: it needs `concurrent: 1`"
        yield Problem("definition.state", text, ("state",))


def _unknown(what: str, name: str, known: Any, at: KeyPath) -> Problem:
    listed = ", ".join(known) or "none"
    return Problem(f"definition.unknown_{what}", f"there is no {what} `{name}` here", at, f"there is: {listed}")
