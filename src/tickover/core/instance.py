"""The instance's configuration: what a routine can ask for and only the owner of the machine can say.

`Instance` is the file `tickover.yaml`, with the bindings that `tickover secret set --hosts` keeps beside it.
`egress_of` makes one run's way out of what the routine asks and the instance has. No secret is in either.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from tickover.core.check import Check, HttpCheck, ReceiptCheck
from tickover.core.definition import HOST, Repository, Routine
from tickover.core.effect import unseen, wanted_of
from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers, Rule, model_rules, rules_of
from tickover.core.errors import DefinitionErrors, TickoverError, UsageError, Where
from tickover.core.host import HostError
from tickover.core.metering import Budget
from tickover.core.network import (
    Asked,
    Binding,
    Endpoint,
    InstanceNetwork,
    NetworkPolicy,
    Preset,
    Reach,
    asked_by,
    policy_of,
)
from tickover.core.notice import Target as NoticeTarget
from tickover.core.permission import RequestPermission
from tickover.core.price import Price, Rates
from tickover.core.push import push_rules
from tickover.core.shape import Between, Form, Line, Maybe, Name, Strict
from tickover.core.target import Target, TargetError, read_origin

CredentialKind = Literal["header", "basic", "query", "git", "claude-oauth", "signing"]
SIGNING: Final = "signing"
"""The kind of what is compared and signed with (webhooks, callbacks) and never sent anywhere."""


class _Host:
    """Text that is a host, `*.host` or `host:port`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{HOST})$"}

    @staticmethod
    def _check(value: str) -> str:
        try:
            Endpoint.parse(value)
        except HostError as error:
            raise PydanticCustomError("form", "{text}", {"text": error.message}) from None
        return value


HostEntry = Annotated[str, _Host()]
HeaderName = Annotated[str, Form(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", "a header's name has no space and no colon")]
Plain = Annotated[str, Form(r"[\x20-\x7e]{0,200}", "at most 200 printable ASCII characters")]
Word = Annotated[str, Form(r"[\x21-\x7e]{1,200}", "1 to 200 printable ASCII characters, no space")]

ModelName = Annotated[str, Form(r"[\x21-\x7e]{1,200}", "a model's name, in which `*` stands for anything")]
Usd = Annotated[int | float, Between(0, 1_000_000, whole=False)]
User = Annotated[str, Form(r"[!-9;-~]{1,200}", "1 to 200 printable ASCII characters, no space and no colon")]


class NetworkSettings(Strict):
    """What only the instance says of the network. `roots`: files with certificates that are trusted as well."""

    deny: tuple[HostEntry, ...] = ()
    private: tuple[HostEntry, ...] = ()
    tunnel: tuple[HostEntry, ...] = ()
    roots: tuple[Annotated[Line, Field(min_length=1)], ...] = ()

    def rules(self) -> InstanceNetwork:
        return InstanceNetwork(deny=self.deny, private=self.private, tunnel=self.tunnel)


_OWN_KEYS: dict[str, frozenset[str]] = {
    "header": frozenset({"header", "prefix"}),
    "query": frozenset({"param"}),
    "basic": frozenset({"user"}),
    "git": frozenset({"user"}),
    "claude-oauth": frozenset(),
    SIGNING: frozenset(),
}


class Credential(Strict):
    """Where a secret may go, and how it is put into a request. `signing` goes nowhere."""

    kind: CredentialKind = "header"
    hosts: tuple[HostEntry, ...] = ()
    header: HeaderName = "authorization"
    prefix: Plain = "Bearer "
    param: Maybe[Word] = None
    user: User = "x-access-token"

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        for key in sorted(self.model_fields_set - {"kind", "hosts"} - _OWN_KEYS[self.kind]):
            text = f"`{key}` has no meaning for a credential of kind `{self.kind}`"
            raise PydanticCustomError("choice", "{text}", {"text": text, "at": (key,)})
        if self.kind == "query" and self.param is None:
            raise PydanticCustomError("choice", "{text}", {"text": "kind `query` needs `param`, the parameter's name"})
        if (self.kind == SIGNING) is bool(self.hosts):
            text = (
                "kind `signing` is never sent, so it has no `hosts`" if self.hosts else "`hosts` says where it may go"
            )
            raise PydanticCustomError("choice", "{text}", {"text": text})
        return self

    def form(self) -> CredentialForm | None:
        """Say how it is put into a request; None for what is never sent."""
        if self.kind == "signing":
            return None
        name = self.param if self.kind == "query" and self.param else self.header
        return CredentialForm(self.kind, name, self.prefix, self.user)


class ModelPrice(Strict):
    """What a model costs, in USD per million tokens; a cache's tokens cost as input does where nothing is said."""

    input: Usd
    output: Usd
    cache_read: Maybe[Usd] = None
    cache_write: Maybe[Usd] = None

    def price(self, model: str) -> Price:
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        return Price(model, Rates(self.input, self.output, read, write))


class Instance(Strict):
    """The file `tickover.yaml`."""

    network: NetworkSettings = NetworkSettings()
    credentials: dict[Name, Credential] = Field(default_factory=dict)
    notify: dict[Name, NoticeTarget] = Field(default_factory=dict)
    prices: dict[ModelName, ModelPrice] = Field(default_factory=dict)

    def with_credentials(self, kept: Mapping[str, Credential]) -> Instance:
        """Add bindings that are kept elsewhere; what the file says wins."""
        return self.model_copy(update={"credentials": {**kept, **self.credentials}})


def credentials_of(routine: Routine) -> dict[str, list[str]]:
    """Return every credential that a routine asks for, with the keys that ask."""
    asked: dict[str, list[str]] = {}
    for index, name in enumerate(routine.environment.credentials):
        asked.setdefault(name, []).append(f"environment.credentials[{index}]")
    for index, each in enumerate(routine.may):
        if isinstance(each, RequestPermission) and each.credential is not None:
            asked.setdefault(each.credential, []).append(f"may[{index}].request.credential")
    for key, repository in routine.repositories.items():
        if repository.credential is not None:
            asked.setdefault(repository.credential, []).append(f"repositories.{key}.credential")
    return asked


NOWHERE: Final = Reach()


def egress_of(routine: Routine, instance: Instance, presets: Mapping[str, Preset], agent: Reach = NOWHERE) -> Egress:
    """Make the agent's way out. Raises DefinitionErrors with everything that cannot be, each with its key.

    `agent` is what the agent's own program has to reach; what it asks its model is no permission of the routine's.
    Whether the owner has granted what is asked is another question (core/grant.py), asked before.
    """
    credentials = credentials_of(routine)
    problems = list(_unknown(credentials, instance))
    rules = _rules(routine, problems)
    repositories = _repositories(routine.repositories, problems)
    if problems:
        raise DefinitionErrors(problems)
    policy = policy_of(
        [*asked_by(routine.environment, routine.may, routine.repositories), *agent.asked],
        presets,
        instance.network.rules(),
        _bindings(credentials, instance),
        observe=routine.environment.network == "observe",
    )
    problems += _no_budget(routine, presets, agent)
    receipts = [(key, check) for key, check in checks_of(routine) if isinstance(check, ReceiptCheck)]
    problems += _not_bound(rules, policy)
    problems += (
        UsageError("receipt.unseen", why, where=Where(key=f"{key}.to"))
        for key, check in receipts
        if (why := unseen(check, policy))
    )
    if problems:
        raise DefinitionErrors(problems)
    return Egress(
        budget=Budget(routine.limits.tokens, routine.limits.cost_usd),
        prices=tuple(each.price(model) for model, each in instance.prices.items()),
        policy=policy,
        powers=Powers((*rules, *model_rules(agent.calls)), push_rules(routine.may, routine.repositories), repositories),
        forms=_forms(credentials, instance),
        wanted=wanted_of(check for _, check in receipts),
    )


def _no_budget(routine: Routine, presets: Mapping[str, Preset], agent: Reach) -> Iterator[TickoverError]:
    """Yield what is wrong where an agent asks a model that is paid for, and nothing bounds it.

    One that answers at an address of the routine's own may be anything, also a model of one's own.
    """
    limits = routine.limits
    paid = agent.calls and any(each.entry in presets for each in agent.asked)
    if paid and limits.tokens is None and limits.cost_usd is None:
        text = f"`{routine.agent_name}` asks a model that is paid for, and nothing bounds what it takes"
        hint = "set `limits.cost_usd`, `limits.tokens` or both"
        yield UsageError("budget.required", text, hint=hint, where=Where(key="limits"))


def verifier_egress_of(routine: Routine, instance: Instance, presets: Mapping[str, Preset]) -> Egress:
    """Make the verifier's way out: it reads the routine's repositories and the pages of its checks, and no more.

    Only credentials of repositories go with it. Raises DefinitionErrors.
    """
    named = {each.credential for each in routine.repositories.values() if each.credential}
    credentials = {name: keys for name, keys in credentials_of(routine).items() if name in named}
    problems = list(_unknown(credentials, instance))
    repositories = _repositories(routine.repositories, problems)
    if problems:
        raise DefinitionErrors(problems)
    rules, bindings = instance.network.rules(), _bindings(credentials, instance)
    policy = policy_of(_read_by_verifier(routine), presets, rules, bindings)
    return Egress(policy=policy, powers=Powers((), (), repositories), forms=_forms(credentials, instance))


def checks_of(routine: Routine) -> Iterator[tuple[str, Check]]:
    """Yield every check with its key: `expect[0].receipt`."""
    for name, checks in (("expect", routine.expect), ("noop", routine.noop)):
        for index, check in enumerate(checks):
            yield f"{name}[{index}].{check.kind}", check


def _unknown(credentials: Mapping[str, Iterable[str]], instance: Instance) -> Iterator[TickoverError]:
    for name, keys in credentials.items():
        known = instance.credentials.get(name)
        for key in keys:
            if known is None:
                near = difflib.get_close_matches(name, instance.credentials, 1)
                meant = f"did you mean `{near[0]}`? Else: " if near else ""
                hint = f"{meant}`tickover secret set {name} --hosts HOST`"
                text = f"this instance has no credential `{name}`"
                yield UsageError("credential.unknown", text, hint=hint, where=Where(key=key))
            elif known.kind == SIGNING:
                text = f"`{name}` is for signing: it is never put into a request"
                yield UsageError("credential.signing", text, where=Where(key=key))


def _bindings(credentials: Iterable[str], instance: Instance) -> list[Binding]:
    return [Binding(name, instance.credentials[name].hosts) for name in credentials]


def _forms(credentials: Iterable[str], instance: Instance) -> dict[str, CredentialForm]:
    found = ((name, instance.credentials[name].form()) for name in credentials)
    return {name: form for name, form in found if form is not None}


def _rules(routine: Routine, problems: list[TickoverError]) -> tuple[Rule, ...]:
    for index, each in enumerate(routine.may):
        try:
            rules_of([each])
        except TargetError as error:
            problems.append(_at(error, f"may[{index}].request.to"))
    return () if problems else rules_of(routine.may)


def _repositories(repositories: Mapping[str, Repository], problems: list[TickoverError]) -> tuple[Target, ...]:
    found = []
    for name, repository in repositories.items():
        if repository.url.startswith("https://"):
            try:
                found.append(Target.parse(f"POST {repository.url}"))
            except TargetError as error:
                problems.append(_at(error, f"repositories.{name}.url"))
    return tuple(found)


def _not_bound(rules: Iterable[Rule], policy: NetworkPolicy) -> Iterator[TickoverError]:
    """Yield each rule that names a credential which may not go where the rule leads."""
    for rule in rules:
        target = rule.target
        if rule.credential and rule.credential not in policy.credentials_for(target.host, target.port):
            text = f"the credential `{rule.credential}` may not go to {target.host}:{target.port}"
            hint = "its `hosts` stand in tickover.yaml, or were given to `tickover secret set --hosts`"
            yield UsageError(
                "credential.not_bound", text, hint=hint, where=Where(key=f"{rule.name}.request.credential")
            )


def _read_by_verifier(routine: Routine) -> Iterator[Asked]:
    for name, repository in routine.repositories.items():
        if repository.url.startswith("https://"):
            _, host, port = read_origin(repository.url)
            yield Asked(f"{host}:{port}", f"repositories.{name}.url", inspect=repository.credential is not None)
    for key, check in checks_of(routine):
        if isinstance(check, HttpCheck) and not check.url.startswith("{{"):
            try:
                _, host, port = read_origin(check.url)
            except TargetError:  # asked in vain: the check itself says why
                continue
            yield Asked(f"{host}:{port}", f"{key}.url")


def _at(error: UsageError, key: str) -> UsageError:
    return UsageError(error.code, error.message, hint=error.hint, where=Where(key=key))
