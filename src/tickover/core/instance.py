"""The instance's configuration: what a routine can ask for and only the owner of the machine can say.

`Instance` is the file `tickover.yaml`, with the bindings that `tickover secret set --hosts` keeps beside it.
`egress_of` makes one run's way out of what the routine asks and the instance has. No secret is in either.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tickover.core.callback import Callback
from tickover.core.caps import CapSettings
from tickover.core.check import Check, GitHubCheck, HttpCheck, ReceiptCheck, SqlCheck
from tickover.core.connector import KINDS, REPO, ConnectorSettings, connected, connector_rules, read_by
from tickover.core.credential import SIGNING, Credential, HostEntry
from tickover.core.definition import Repository, Routine
from tickover.core.effect import unseen, wanted_of
from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Powers, Rule, model_rules, rules_of
from tickover.core.errors import DefinitionErrors, NotYetError, TickoverError, UsageError, Where
from tickover.core.gate import gated
from tickover.core.github_app import GITHUB_APP, app_form
from tickover.core.github_desk import GitHubSettings
from tickover.core.mcp import tool_rules
from tickover.core.mcp_way import servers_of
from tickover.core.metering import Budget
from tickover.core.network import (
    CREDENTIAL_PORTS,
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
from tickover.core.oauth import CLIENT_SECRET
from tickover.core.own_tools import SERVER, own_tools_of
from tickover.core.permission import ConnectorPermission, RequestPermission
from tickover.core.price import Price, Rates
from tickover.core.push import PushRule, push_rules
from tickover.core.shape import Between, Form, Line, Maybe, Name, Strict
from tickover.core.target import Target, TargetError, read_origin

ModelName = Annotated[str, Form(r"[\x21-\x7e]{1,200}", "a model's name, in which `*` stands for anything")]
Usd = Annotated[int | float, Between(0, 1_000_000, whole=False)]


class NetworkSettings(Strict):
    """What only the instance says of the network. `roots`: files with certificates that are trusted as well."""

    deny: tuple[HostEntry, ...] = ()
    private: tuple[HostEntry, ...] = ()
    tunnel: tuple[HostEntry, ...] = ()
    roots: tuple[Annotated[Line, Field(min_length=1)], ...] = ()

    def rules(self) -> InstanceNetwork:
        return InstanceNetwork(deny=self.deny, private=self.private, tunnel=self.tunnel)


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


class EventSettings(Strict):
    """What the instance says of events. `own`: the logins under which its routines act outside, for the loop guard."""

    own: tuple[Annotated[Line, Field(min_length=1, max_length=100)], ...] = ()


class Instance(Strict):
    """The file `tickover.yaml`."""

    network: NetworkSettings = NetworkSettings()
    credentials: dict[Name, Credential] = Field(default_factory=dict)
    notify: dict[Name, NoticeTarget] = Field(default_factory=dict)
    caps: CapSettings = CapSettings()
    prices: dict[ModelName, ModelPrice] = Field(default_factory=dict)
    events: EventSettings = EventSettings()
    connectors: dict[Name, ConnectorSettings] = Field(default_factory=dict)
    github: GitHubSettings = GitHubSettings()
    callbacks: dict[Name, Callback] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known_connectors(self) -> Self:
        for name, each in self.connectors.items():
            if name == SERVER:
                text = f"`{name}` is the name of a run's own tools: give yours another name"
                raise PydanticCustomError("choice", "{text}", {"text": text, "at": ("connectors", name)})
            if (name in KINDS) is each.own:
                known = ", ".join(KINDS)
                text = f"there is no connector `{name}`; there is: {known}; others have `http`, `mcp` or `sql`"
                if each.own:
                    text = f"the connector `{name}` is known: give yours another name"
                raise PydanticCustomError("choice", "{text}", {"text": text, "at": ("connectors", name)})
        return self

    def is_private(self, host: str, port: int) -> bool:
        """Say whether a host's addresses may be private."""
        return any(Endpoint.parse(each).covers(host, port) for each in self.network.private)

    def with_credentials(self, kept: Mapping[str, Credential]) -> Instance:
        """Add bindings that are kept elsewhere; what the file says wins."""
        return self.model_copy(update={"credentials": {**kept, **self.credentials}})


_NOTHING: Final = Instance()


def credentials_of(routine: Routine, instance: Instance = _NOTHING) -> dict[str, list[str]]:
    """Return every credential that a routine asks for, with the keys that ask; `instance` says which connectors use."""
    asked: dict[str, list[str]] = {}
    for index, name in enumerate(routine.environment.credentials):
        asked.setdefault(name, []).append(f"environment.credentials[{index}]")
    for index, each in enumerate(routine.may):
        if isinstance(each, RequestPermission) and each.credential is not None:
            asked.setdefault(each.credential, []).append(f"may[{index}].request.credential")
    for key, repository in routine.repositories.items():
        if repository.credential is not None:
            asked.setdefault(repository.credential, []).append(f"repositories.{key}.credential")
    for name in routine.connectors:
        settings = instance.connectors.get(name)
        for sent in settings.sent if settings is not None else ():
            asked.setdefault(sent, []).append(f"connectors.{name}")
    return asked


def read_by_checks(routine: Routine, instance: Instance) -> dict[str, list[str]]:
    """Return each credential that checks read a connector with, and the checks: only the verifier is given it."""
    asked: dict[str, list[str]] = {}
    for key, check in checks_of(routine):
        settings = instance.connectors.get(read_by(check) or "")
        if settings is not None and settings.reading is not None:
            asked.setdefault(settings.reading, []).append(key)
        if isinstance(check, HttpCheck) and (own := _asked_of(check.url, routine, instance)) is not None:
            asked.setdefault(own, []).append(key)
    return asked


def _asked_of(url: str, routine: Routine, instance: Instance) -> str | None:
    """Return the reading credential of the routine's `http` connector that a page is of, None where it is of none."""
    for name in routine.connectors:
        settings = instance.connectors.get(name)
        if settings is not None and settings.http and settings.reading is not None:
            base = settings.http.url.rstrip("/")
            if url == base or url.startswith((f"{base}/", f"{base}?")):
                return settings.reading
    return None


NOWHERE: Final = Reach()


def egress_of(routine: Routine, instance: Instance, presets: Mapping[str, Preset], agent: Reach = NOWHERE) -> Egress:
    """Make the agent's way out. Raises DefinitionErrors with everything that cannot be, each with its key.

    `agent` is what the agent's own program has to reach; what it asks its model is no permission of the routine's.
    Whether the owner has granted what is asked is another question (core/grant.py), asked before.
    """
    credentials = credentials_of(routine, instance)
    problems = list(_unknown(credentials, instance))
    rules = _rules(routine, instance, problems)
    connectors = _connectors(routine, instance, problems)
    servers = servers_of(routine, instance.connectors, _to_server(instance, presets), problems)
    repositories = _repositories(routine.repositories, problems)
    if problems:
        raise DefinitionErrors(problems)
    policy = policy_of(
        [*asked_by(routine.environment, routine.may, routine.repositories), *connectors, *agent.asked],
        presets,
        instance.network.rules(),
        _bindings(_carried(routine, instance), instance),
        observe=routine.environment.network == "observe",
    )
    problems += _no_budget(routine, presets, agent)
    receipts = [(key, check) for key, check in checks_of(routine) if isinstance(check, ReceiptCheck)]
    problems += _not_bound(routine, rules, policy)
    pushes = push_rules(routine.may, routine.repositories)
    forms = _forms(credentials, instance, routine, policy, problems, rules, pushes)
    problems += (
        UsageError("receipt.unseen", why, where=Where(key=f"{key}.to"))
        for key, check in receipts
        if (why := unseen(check, policy, servers))
    )
    if problems:
        raise DefinitionErrors(problems)
    own = own_tools_of(routine)
    return Egress(
        budget=Budget(routine.limits.tokens, routine.limits.cost_usd),
        prices=tuple(each.price(model) for model, each in instance.prices.items()),
        policy=replace(policy, internal=bool(servers or own or gated(routine))),
        powers=Powers((*rules, *model_rules(agent.calls)), pushes, repositories),
        forms=forms,
        wanted=wanted_of(check for _, check in receipts),
        servers=servers,
        own_tools=own,
    )


def _carried(routine: Routine, instance: Instance) -> list[str]:
    """List the credentials that go with requests of the agent's own: not those that only MCP servers are asked with."""
    bare = instance.model_copy(
        update={"connectors": {name: each for name, each in instance.connectors.items() if not each.mcp}}
    )
    return list(credentials_of(routine, bare))


def _to_server(instance: Instance, presets: Mapping[str, Preset]) -> Callable[[str, str, str | None], NetworkPolicy]:
    """Return what makes the gateway's own way to an MCP server: of `host:port`, who asks, and the credential."""
    rules = replace(instance.network.rules(), tunnel=())  # for clients that pin certificates, and we do not

    def way(entry: str, by: str, credential: str | None) -> NetworkPolicy:
        carried = [credential] if credential in instance.credentials else []
        policy = policy_of([Asked(entry, by, inspect=True)], presets, rules, _bindings(filter(None, carried), instance))
        host, _, port = entry.rpartition(":")
        if carried and credential not in policy.credentials_for(host, int(port)):
            text = f"the credential `{credential}` may not go to {entry}"
            hint = "its `hosts` stand in tickover.yaml, or were given to `tickover secret set --hosts`"
            raise UsageError("credential.not_bound", text, hint=hint, where=Where(key=by))
        if credential in instance.credentials and instance.credentials[credential].kind == GITHUB_APP:
            text = f"the credential `{credential}` is a GitHub App's key: no MCP server is asked with its tokens"
            raise UsageError("credential.github_app", text, where=Where(key=by))
        return policy

    return way


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

    Those of the routine's credentials go with it that are bound to one of these hosts. Raises DefinitionErrors.
    """
    return _reading(routine, instance, presets, _read_by_verifier(routine))


def page_egress_of(routine: Routine, instance: Instance, presets: Mapping[str, Preset], url: str) -> Egress:
    """Make the way to one page that a check asks for. Raises TargetError for what has no name, DefinitionErrors."""
    own = _asked_of(url, routine, instance)
    granted = own in read_by_checks(routine, instance)  # what an input made of the address was not asked of the owner
    return _reading(routine, instance, presets, [_page(url, "the check `http`")], own if granted else None)


def _reading(
    routine: Routine, instance: Instance, presets: Mapping[str, Preset], asked: Iterable[Asked], own: str | None = None
) -> Egress:
    """Make a way to read with the routine's credentials; `own` alone is a connector's, for the page of a check."""
    credentials = credentials_of(routine) if own is None else {own: ["connectors"]}
    problems = list(_unknown(credentials, instance))
    repositories = _repositories(routine.repositories, problems)
    if problems:
        raise DefinitionErrors(problems)
    rules = replace(instance.network.rules(), tunnel=())  # for clients that pin certificates, and the verifier does not
    places = list(asked)
    carried = [name for name in credentials if any(_goes_to(instance.credentials[name], each.entry) for each in places)]
    policy = policy_of(places, presets, rules, _bindings(carried, instance))
    forms = _forms(carried, instance, routine, policy, problems)
    if problems:
        raise DefinitionErrors(problems)
    return Egress(policy=policy, powers=Powers((), (), repositories), forms=forms)


def _goes_to(credential: Credential, place: str) -> bool:
    """Say whether a credential is bound to a place (`host:port`)."""
    host, _, port = place.rpartition(":")
    return any(Endpoint.parse(bound, CREDENTIAL_PORTS).covers(host, int(port)) for bound in credential.hosts)


def read_back_of(routine: Routine, instance: Instance, presets: Mapping[str, Preset]) -> dict[str, Egress]:
    """Make the way to each connector that checks read: to its host alone, with its reading credential alone.

    Raises DefinitionErrors.
    """
    problems = list(_unknown(read_by_checks(routine, instance), instance))
    asked = _read_back(routine, instance, problems)
    if problems:
        raise DefinitionErrors(problems)
    ways = {}
    for name, entry in asked.items():
        reading = instance.connectors[name].reading
        credentials = [reading] if reading is not None else []
        policy = policy_of([entry], presets, instance.network.rules(), _bindings(credentials, instance))
        ways[name] = Egress(policy=policy, forms=_forms(credentials, instance, routine, policy, problems))
        problems += _not_read(name, entry, instance, policy)
    problems += _own_not_read(routine, instance)
    if problems:
        raise DefinitionErrors(problems)
    return ways


def _own_not_read(routine: Routine, instance: Instance) -> Iterator[TickoverError]:
    """Yield each reading credential of an `http` connector's checks that may not go where the connector answers."""
    for key, check in checks_of(routine):
        if isinstance(check, HttpCheck) and (own := _asked_of(check.url, routine, instance)) is not None:
            entry = _page(check.url, key).entry
            if not _goes_to(instance.credentials[own], entry):
                text = f"the credential `{own}` of the page's connector may not go to {entry}"
                yield UsageError("credential.not_bound", text, where=Where(key=key))


def account_egress_of(name: str, credential: str, instance: Instance, presets: Mapping[str, Preset]) -> Egress:
    """Make the way to ask a connector who its credential is: to its host alone, GET, with that credential alone.

    The key of a GitHub App is nobody, so it is not asked with. Raises DefinitionErrors, and UsageError for a connector
    that this instance does not have.
    """
    entry = Asked(connected(name, instance.connectors, f"connectors.{name}").entry, f"connectors.{name}", inspect=True)
    policy = policy_of([entry], presets, instance.network.rules(), _bindings([credential], instance))
    form = instance.credentials[credential].form(instance.network.rules())
    return Egress(policy=policy, forms={} if form is None else {credential: form})


def _not_read(name: str, entry: Asked, instance: Instance, policy: NetworkPolicy) -> Iterator[TickoverError]:
    """Yield a reading credential that may not go where its connector answers."""
    reading = instance.connectors[name].reading
    host, _, port = entry.entry.rpartition(":")
    if reading is not None and reading not in policy.credentials_for(host, int(port)):
        text = f"the credential `{reading}` of the connector `{name}` may not go to {host}:{port}"
        hint = "its `hosts` stand in tickover.yaml, or were given to `tickover secret set --hosts`"
        yield UsageError("credential.not_bound", text, hint=hint, where=Where(key=entry.by))


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
            elif known.kind == CLIENT_SECRET:
                text = f"`{name}` is the secret of an OAuth client: only its token endpoint is told"
                yield UsageError("credential.oauth_client", text, where=Where(key=key))
            elif known.oauth is not None:
                yield from _no_token(name, known, instance, key)


def _no_token(name: str, credential: Credential, instance: Instance, key: str) -> Iterator[TickoverError]:
    """Yield what keeps a credential from its tokens."""
    try:
        credential.form(instance.network.rules())
    except UsageError as error:
        yield _at(error, key)
    client = credential.oauth.client_secret if credential.oauth else None
    known = instance.credentials.get(client) if client is not None else None
    if client is not None and (known is None or known.kind != CLIENT_SECRET):
        text = f"`{client}`, the client's secret of `{name}`, is no credential of kind `{CLIENT_SECRET}`"
        hint = f"`tickover secret set {client} --kind {CLIENT_SECRET}`"
        yield UsageError("credential.oauth_client", text, hint=hint, where=Where(key=key))


def stored_for(names: Iterable[str], instance: Instance) -> Iterator[str]:
    """Yield every secret that these credentials need a value of: their own, and those of their OAuth clients."""
    for name in names:
        yield name
        known = instance.credentials.get(name)
        if known is not None and known.oauth is not None and known.oauth.client_secret is not None:
            yield known.oauth.client_secret


def _bindings(credentials: Iterable[str], instance: Instance) -> list[Binding]:
    return [Binding(name, instance.credentials[name].hosts) for name in credentials]


def _forms(
    credentials: Iterable[str],
    instance: Instance,
    routine: Routine,
    policy: NetworkPolicy,
    problems: list[TickoverError],
    rules: Iterable[Rule] = (),
    pushes: Iterable[PushRule] = (),
) -> dict[str, CredentialForm]:
    """Say how each credential is put into requests; a GitHub App's tokens are for what goes with it in this run."""
    forms: dict[str, CredentialForm] = {}
    for name in credentials:
        form = instance.credentials[name].form(instance.network.rules())
        if form is not None and form.app is not None:
            writes = [each.target for each in rules if name == each.credential]
            pushed = [each.remote for each in pushes if name == each.credential]
            reached = policy.judge(*form.app.place).allowed
            try:
                scoped = app_form(name, form.app, routine, writes=writes, pushes=pushed, api=reached)
            except UsageError as error:
                problems.append(error)
                continue
            form = replace(form, app=replace(scoped, private=instance.is_private(*scoped.place)))
        if form is not None:
            forms[name] = form
    return forms


def _rules(routine: Routine, instance: Instance, problems: list[TickoverError]) -> tuple[Rule, ...]:
    connectors: list[Rule] = []
    for index, each in enumerate(routine.may):
        try:
            rules_of([each])
            if isinstance(each, ConnectorPermission):
                connectors += _of_connector(routine, instance, index, each)
        except TargetError as error:
            problems.append(_at(error, f"may[{index}].request.to"))
        except UsageError as error:
            problems.append(error)
    return () if problems else (*rules_of(routine.may), *connectors)


def _of_connector(
    routine: Routine, instance: Instance, index: int, permission: ConnectorPermission
) -> tuple[Rule, ...]:
    key = f"may[{index}].{permission.kind}"
    settings = instance.connectors.get(permission.kind)
    if settings is not None and (settings.mcp or settings.sql):
        if settings.sql:
            text = f"`{permission.kind}` is a database: checks read it, and nothing can be changed through it"
            raise UsageError("connector.reads_only", text, where=Where(key=key))
        tool_rules(index, permission)
        rules: tuple[Rule, ...] = ()  # the server's own (core/mcp.py): its calls are no requests of the agent's
    else:
        rules = connector_rules(index, permission, connected(permission.kind, instance.connectors, key))
    if permission.tool not in routine.connectors[permission.kind].tools:
        text = f"`{permission.tool}` is not in `connectors.{permission.kind}.tools`"
        raise UsageError("connector.not_offered", text, where=Where(key=f"{key}.tool"))
    return rules


def _connectors(routine: Routine, instance: Instance, problems: list[TickoverError]) -> list[Asked]:
    """List the hosts of a routine's connectors: all that goes to them is read. The gateway asks MCP servers itself."""
    asked = []
    for name, offered in routine.connectors.items():
        key = f"connectors.{name}"
        settings = instance.connectors.get(name)
        if settings is not None and settings.sql and offered.tools:
            text = f"`{name}` is a database: checks read it, and it has no tools"
            problems.append(UsageError("connector.unknown_key", text, where=Where(key=f"{key}.tools")))
        if settings is not None and (settings.mcp or settings.sql):
            continue
        if settings is not None and settings.http and offered.required:
            problems.append(NotYetError(f"{key}.required", where=Where(key=f"{key}.required")))
        try:
            known = connected(name, instance.connectors, key)
            asked.append(Asked(known.entry, key, inspect=True))
        except UsageError as error:
            problems.append(error)
            continue
        for tool in offered.tools:
            if tool not in known.tools:
                text, hint = f"`{name}` has no tool `{tool}`", f"there is: {', '.join(known.tools) or 'none'}"
                problems.append(UsageError("connector.unknown_key", text, hint=hint, where=Where(key=f"{key}.tools")))
    return asked


def _read_back(routine: Routine, instance: Instance, problems: list[TickoverError]) -> dict[str, Asked]:
    """Return the hosts that checks of connectors ask, by connector."""
    asked: dict[str, Asked] = {}
    for key, check in checks_of(routine):
        name = read_by(check)
        if name is None:
            continue
        try:
            asked.setdefault(name, Asked(_place(name, check, instance, key), key, inspect=True))
            if isinstance(check, GitHubCheck) and "{{" not in check.repo and not REPO.fullmatch(check.repo):
                text = f"{check.repo} is no repository: it is OWNER/NAME"
                problems.append(UsageError("connector.repo", text, where=Where(key=f"{key}.repo")))
        except UsageError as error:
            problems.append(error)
    return asked


def _place(name: str, check: Check, instance: Instance, key: str) -> str:
    """Return the `host:port` that a check of a connector asks. Raises UsageError with its place."""
    if not isinstance(check, SqlCheck):
        return connected(name, instance.connectors, key).entry
    settings = instance.connectors.get(name)
    if settings is None or settings.sql is None:
        hint = f"tickover.yaml: `connectors: {{{name}: {{sql: {{url: ..., credential: NAME}}}}}}`"
        text = f"this instance has no database `{name}`"
        raise UsageError("connector.unknown", text, hint=hint, where=Where(key=f"{key}.connector"))
    return settings.sql.entry


def _repositories(repositories: Mapping[str, Repository], problems: list[TickoverError]) -> tuple[Target, ...]:
    found = []
    for name, repository in repositories.items():
        if repository.url.startswith("https://"):
            try:
                found.append(Target.parse(f"POST {repository.url}"))
            except TargetError as error:
                problems.append(_at(error, f"repositories.{name}.url"))
    return tuple(found)


def _not_bound(routine: Routine, rules: Iterable[Rule], policy: NetworkPolicy) -> Iterator[TickoverError]:
    """Yield each rule that names a credential which may not go where the rule leads."""
    keys = {
        f"may[{index}]": f"may[{index}].{each.kind}{'.credential' if isinstance(each, RequestPermission) else ''}"
        for index, each in enumerate(routine.may)
    }
    for rule in rules:
        target = rule.target
        if rule.credential and rule.credential not in policy.credentials_for(target.host, target.port):
            text = f"the credential `{rule.credential}` may not go to {target.host}:{target.port}"
            hint = "its `hosts` stand in tickover.yaml, or were given to `tickover secret set --hosts`"
            yield UsageError("credential.not_bound", text, hint=hint, where=Where(key=keys[rule.name]))


def _read_by_verifier(routine: Routine) -> Iterator[Asked]:
    for name, repository in routine.repositories.items():
        if repository.url.startswith("https://"):
            _, host, port = read_origin(repository.url)
            yield Asked(f"{host}:{port}", f"repositories.{name}.url", inspect=repository.credential is not None)
    for key, check in checks_of(routine):
        if isinstance(check, HttpCheck) and not check.url.startswith("{{"):
            try:
                yield _page(check.url, f"{key}.url")
            except TargetError:  # asked in vain: the check itself says why
                continue


def _page(url: str, by: str) -> Asked:
    _, host, port = read_origin(url)
    return Asked(f"{host}:{port}", by, inspect=True)


def _at(error: UsageError, key: str) -> UsageError:
    return UsageError(error.code, error.message, hint=error.hint, where=Where(key=key))
