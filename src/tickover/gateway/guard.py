"""What is decided about each request, every protection a method of its own; nothing is sent or read here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from tickover.core.egress import CredentialForm, Egress
from tickover.core.enforcement import Allow, Body, Need, judge_request, need
from tickover.core.errors import TickoverError
from tickover.core.github_app import GITHUB_APP, AppForm
from tickover.core.network import Decision
from tickover.gateway.asked import Asked
from tickover.gateway.base import Values
from tickover.gateway.credential import PLACEHOLDER, dressed, says_who, speaks_git, stripped
from tickover.gateway.fields import Fields
from tickover.gateway.http1 import Request
from tickover.gateway.keyring import can_be_told
from tickover.gateway.refusal import Refusal
from tickover.gateway.scrub import SHORTEST, Forms, Scrubber

_DERIVED = ("set-cookie", "set-cookie2")
"""Fields of an answer that hand out what stands for a credential."""
_MOST_FORMS = 16

Held = Callable[[], tuple[bytes, ...]]


class Guard:
    """The rules of one run, and its credentials by name. Every method is one protection.

    `held` returns values that others hold, in a fixed order: no server may say them to this run (keyring.py).
    """

    def __init__(self, egress: Egress, values: Values, held: Held = tuple) -> None:
        self._egress = egress
        self._values = values
        self._held = held
        self._seen: dict[str, dict[bytes, None]] = {}
        self._forms: dict[tuple[bytes, ...], Forms] = {}

    # Before anything leaves.

    def hold(self, request: Request, decision: Decision) -> None:
        """Hold a request to the name that its connection was opened for."""
        port = decision.port if request.host.port is None else request.host.port
        if (request.host.host, port) != (decision.host, decision.port):
            where = f"{decision.host}:{decision.port}"
            raise Refusal(421, "host_mismatch", f"the request is for {request.host.host}:{port}, not for {where}")

    async def fresh(self, host: str) -> None:
        """See to it that the credentials that go to a host can be used. Raises Refusal."""
        for name in self._names(host):
            await self._values.fresh(name)

    async def again(self, asked: Asked, credential: str) -> Asked | None:
        """Return the request with another token, now that its own was refused; None where there is only the one."""
        return self.dress(asked, credential) if await self.renewed(credential) else None

    async def renewed(self, credential: str | None) -> bool:
        """Get another token, now that its own was refused; say whether there is one. Raises Refusal."""
        if credential is None or self._form(credential).oauth is None:
            return False
        rejected = self._value(credential)
        await self._values.fresh(credential, rejected=rejected)
        return self._value(credential) != rejected

    def clean(self, asked: Asked) -> Asked:
        """Take out the client's own credentials and what would hide an echo from us; refuse a placeholder elsewhere."""
        if self._governed(asked.host):
            asked = stripped(asked, (form.name for form in self._egress.forms.values() if form.kind == "query"))
        if PLACEHOLDER in asked.path or PLACEHOLDER in asked.query:
            raise Refusal(403, "placeholder", "a placeholder stands in the address, where no credential belongs")
        fields = [(name, value) for name, value in asked.fields if PLACEHOLDER not in value or not says_who(name)]
        if any(PLACEHOLDER in value for _, value in fields):
            raise Refusal(403, "placeholder", "a placeholder stands in a header, where no credential belongs")
        asked = replace(asked, fields=Fields(fields))
        return self.unhidden(asked) if self.secrets(asked.host) or self.foreign() else asked

    def unhidden(self, asked: Asked) -> Asked:
        """Ask for an answer in which a secret could be seen: plain, whole, in no odd character set."""
        hiding = ("range", "if-range", "accept-charset", "sec-websocket-extensions")
        return replace(asked, fields=asked.fields.without(*hiding)).having("accept-encoding", "identity")

    def credentials(self, asked: Asked) -> tuple[str, ...]:
        """Name the credentials that may go with it: those for git on git's own paths only, and first there."""
        bound = self._egress.policy.credentials_for(asked.host, asked.port)
        git = tuple(name for name in bound if self._form(name).kind in {"git", GITHUB_APP})
        others = tuple(name for name in bound if name not in git)
        apps = [(name, app) for name in git if (app := self._form(name).app)]
        others += tuple(name for name, app in apps if app.is_api(asked.host, asked.port, asked.path))
        return git + others if speaks_git(asked) else others

    def need(self, asked: Asked) -> Need:
        """Say what of the body must be read before the request is judged."""
        found = need(asked.judged_as(None), self._egress.powers)
        renewable = any(self._form(name).oauth for name in self._names(asked.host))
        if found is Need.NOTHING and asked.has_body and (self._egress.wanted.request or renewable):
            return Need.JSON  # what was read can be sent a second time, with another token
        return found

    def judge(self, asked: Asked, body: Body, counts: Mapping[str, int]) -> Allow:
        """Return what allows it. Raises Refusal with the reason why nothing does."""
        bound = self._egress.policy.credentials_for(asked.host, asked.port)
        usable = self.credentials(asked)
        if asked.scheme != "https" and bound:
            usable = bound  # whoever has a credential is not spoken to in the clear, whatever its form
        judged = judge_request(asked.judged_as(body), self._egress.powers, counts, usable)
        if not isinstance(judged, Allow):
            raise Refusal(403, judged.code, judged.says)
        return judged

    def dress(self, asked: Asked, credential: str | None) -> Asked:
        """Put the granted credential in. Raises Refusal where its value cannot be used."""
        if credential is None:
            return asked
        if asked.scheme != "https":
            raise Refusal(403, "cleartext", f"the credential `{credential}` does not go out in the clear")
        return dressed(asked, self._form(credential), self._value(credential))

    def app(self, credential: str | None) -> AppForm | None:
        """Return the GitHub App that a credential is the key of; None for what is put in as it is."""
        return None if credential is None else self._form(credential).app

    def key(self, credential: str) -> bytes:
        """Return an App's key, which no request is ever sent with. Raises Refusal where there is none."""
        try:
            return self._values.value(credential)
        except TickoverError as error:
            raise Refusal(503, "credential", f"the credential `{credential}` has no value: {error.code}") from error

    def dress_as_app(self, asked: Asked, credential: str, token: bytes) -> Asked:
        """Put an App's token in, and keep it out of what comes back. Raises Refusal in the clear."""
        self._seen.setdefault(credential, {})[token] = None
        if asked.scheme != "https":
            raise Refusal(403, "cleartext", f"the credential `{credential}` does not go out in the clear")
        return self.unhidden(dressed(asked, CredentialForm("git" if speaks_git(asked) else "header"), token))

    # What comes back.

    def secrets(self, host: str) -> tuple[bytes, ...]:
        """Return every value, old ones too, of the credentials that go to a host at whatever port: it may echo them."""
        names = self._names(host)
        for name in names:
            if self.app(name) is None:
                self._value(name)
        return tuple(value for name in names for value in self._seen.get(name, ()))

    def foreign(self) -> tuple[bytes, ...]:
        """Return every value that some session of this gateway holds: a server may say it that got it elsewhere."""
        return self._held()

    def scrubber(self, host: str) -> Scrubber | None:
        """Return what blots secrets out of one answer, the host's and everybody's; None if there are none."""
        own, foreign = self.secrets(host), self.foreign()
        return self._scrubber(tuple(dict.fromkeys((*own, *foreign))) if foreign else own)

    def keeps(self, name: str) -> bool:
        """Say whether a field of an answer may be passed on where a credential is in play."""
        return name.lower() not in _DERIVED

    def redact(self, text: str) -> str:
        """Take every secret of this run out of a text that is kept."""
        scrubber = self._known()
        return scrubber.whole(text.encode("utf-8", "replace")).decode("utf-8", "replace") if scrubber else text

    def blot(self, data: bytes) -> bytes:
        """Take every secret of this run, and every one that is held, out of bytes that are kept."""
        scrubber = self._known()
        return scrubber.whole(data) if scrubber else data

    # The values.

    def _known(self) -> Scrubber | None:
        seen = (value for values in self._seen.values() for value in values)
        return self._scrubber(tuple(dict.fromkeys((*seen, *self.foreign()))))

    def _scrubber(self, secrets: tuple[bytes, ...]) -> Scrubber | None:
        if not secrets:
            return None
        if secrets not in self._forms:
            if len(self._forms) >= _MOST_FORMS:  # what others hold changes as their sessions come and go
                self._forms.clear()
            self._forms[secrets] = Forms(secrets)
        return Scrubber(self._forms[secrets])

    def _names(self, host: str) -> list[str]:
        every = {each.credential for each in self._egress.policy.governed if each.endpoint.host.covers(host)}
        return sorted(filter(None, every))

    def _governed(self, host: str) -> bool:
        return any(each.endpoint.host.covers(host) for each in self._egress.policy.governed)

    def _form(self, credential: str) -> CredentialForm:
        return self._egress.forms.get(credential, CredentialForm())

    def _value(self, credential: str) -> bytes:
        if self.app(credential) is not None:
            raise Refusal(503, "credential", f"`{credential}` is a GitHub App's key: it goes into no request")
        value = self.key(credential)
        if not can_be_told(value):
            says = f"the value of `{credential}` is no line of {SHORTEST} or more printable ASCII characters"
            raise Refusal(503, "credential", says)
        self._seen.setdefault(credential, {})[value] = None
        return value
