"""A double of GitHub with an App, its installations and the deliveries of its webhook; JWTs are really verified.

Source: https://docs.github.com/en/rest/apps (apps, webhooks), /rest/repos/webhooks, /rest/checks/runs. A token that it
makes is good for its repositories and permissions only, until `expires_at` by the double's clock.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tickover.testing.github import Answered, GitHubDouble

_MOST_AHEAD = 600
_PAGE = 30
_INSTALLATION = re.compile(r"/repos/([^/]+)/([^/]+)/installation")
_TOKENS = re.compile(r"/app/installations/(\d+)/access_tokens")
_DELIVERIES = re.compile(r"(/app/hook|/repos/[^/]+/[^/]+/hooks/\d+)/deliveries(?:/(\d+)(/attempts)?)?")
_HOOKS = re.compile(r"/repos/([^/]+/[^/]+)/hooks")
_CHECKS = re.compile(r"/repos/([^/]+/[^/]+)/(?:commits/(\w+)/check-runs|check-runs(?:/(\d+))?)")
_REPO = re.compile(r"/repos/([^/]+)/([^/]+)(?:/([^/]+))?")
_WRITES = {"pulls": "pull_requests", "issues": "issues", "statuses": "statuses", "check-runs": "checks"}


def app_key() -> tuple[rsa.RSAPrivateKey, bytes]:
    """Make an App's key, and its PEM as GitHub gives it out (PKCS #1)."""
    key = rsa.generate_private_key(65537, 2048)
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@dataclass
class Installation:
    """The App at one owner. `repositories` are those that it was installed on."""

    number: int
    owner: str
    repositories: tuple[str, ...]
    permissions: Mapping[str, str]


@dataclass
class Sent:
    """One attempt to deliver. A redelivery is another attempt with the same `guid`."""

    number: int
    guid: str
    event: str
    action: str | None
    payload: Mapping[str, Any] | None
    status_code: int
    at: float
    redelivery: bool = False
    repo: str = ""


@dataclass
class _Token:
    owner: str
    repositories: frozenset[str]
    permissions: Mapping[str, str]
    ends: float


@dataclass
class GitHubAppDouble(GitHubDouble):
    """`app` is the App's id, `public` its key. `revoked` has tokens that are answered with 401.

    `sent` are the deliveries, newest last; `asked_again` the numbers of those that somebody asked for again.
    `hooks` maps OWNER/NAME to the numbers of its webhooks, `addresses` such a number to where it sends.
    """

    app: str = "Iv1.app"
    public: rsa.RSAPublicKey | None = None
    installations: list[Installation] = field(default_factory=list)
    made: dict[str, _Token] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    sent: list[Sent] = field(default_factory=list)
    asked_again: list[int] = field(default_factory=list)
    hooks: dict[str, list[int]] = field(default_factory=dict)
    addresses: dict[int, str] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)

    def _login(self, bearer: str, method: str, path: str) -> str | None:
        if bearer.count(".") == 2:
            self._verify(bearer)
            return f"app {self.app}"
        token = self.made.get(bearer)
        if token is None:
            return super()._login(bearer, method, path)
        if bearer in self.revoked or token.ends <= self.clock():
            return None
        found = _REPO.match(path)
        if found and (found[1].lower() != token.owner.lower() or found[2].lower() not in token.repositories):
            raise Answered(404, "Not Found")
        if method != "GET":
            need = _WRITES.get(found[3] or "", "nothing") if found else "nothing"
            able = [token.permissions.get(each) for each in (need, "pull_requests" if need == "issues" else need)]
            if "write" not in able:
                raise Answered(403, "Resource not accessible by integration")
        return "an-app[bot]"

    def _verify(self, bearer: str) -> None:
        """Verify a JWT as GitHub does. Raises Answered."""
        head, claims, signature = bearer.split(".")
        try:
            assert self.public is not None
            self.public.verify(_bytes(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise Answered(401, "A JSON web token could not be decoded") from None
        said, now = json.loads(_bytes(claims)), self.clock()
        if json.loads(_bytes(head)).get("alg") != "RS256" or str(said.get("iss")) != self.app:
            raise Answered(401, "'Issuer' claim ('iss') must be the App's")
        if said["iat"] > now:
            raise Answered(401, "'Issued at' claim ('iat') must be an Integer representing a past time")
        if not now < said["exp"] <= now + _MOST_AHEAD:
            raise Answered(401, "'Expiration time' claim ('exp') is too far in the future")

    def _answer(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any], login: str
    ) -> tuple[int, Any]:
        as_app = login == f"app {self.app}"
        if (found := _INSTALLATION.fullmatch(path)) and as_app:
            return 200, self._installation(found[1], found[2])
        if (found := _TOKENS.fullmatch(path)) and method == "POST":
            return self._make(int(found[1]), body, as_app=as_app)
        if (found := _DELIVERIES.fullmatch(path)) and (as_app is (found[1] == "/app/hook")):
            return self._deliveries(method, found, query)
        if found := _HOOKS.fullmatch(path):
            addresses = {**dict.fromkeys(self.hooks.get(found[1], []), "https://example.com"), **self.addresses}
            return 200, [{"id": each, "config": {"url": addresses[each]}} for each in self.hooks.get(found[1], [])]
        if as_app:
            raise Answered(401, "A JSON web token is not for this endpoint")
        if found := _CHECKS.fullmatch(path):
            return self._check_runs(method, found, query, body)
        return super()._answer(method, path, query, body, login)

    def _installation(self, owner: str, repo: str) -> dict[str, Any]:
        for each in self.installations:
            if each.owner.lower() == owner.lower() and repo.lower() in map(str.lower, each.repositories):
                return {"id": each.number, "account": {"login": each.owner}, "permissions": dict(each.permissions)}
        raise Answered(404, "Not Found")

    def _make(self, number: int, body: Mapping[str, Any], *, as_app: bool) -> tuple[int, Any]:
        place = next((each for each in self.installations if each.number == number), None)
        if place is None or not as_app:
            raise Answered(404, "Not Found")
        names = body.get("repositories", list(place.repositories))
        if any(name not in place.repositories for name in names):
            raise Answered(422, "There is at least one repository that does not exist or is not accessible")
        asked = body.get("permissions", dict(place.permissions))
        given = {**place.permissions, "metadata": "read"}
        if any((level == "write" and given.get(name) != "write") or name not in given for name, level in asked.items()):
            raise Answered(422, "The permissions requested are not granted to this installation.")
        value, ends = f"ghs_{len(self.made):03}_0123456789abcdefghij", self.clock() + 3600
        self.made[value] = _Token(place.owner, frozenset(map(str.lower, names)), asked, ends)
        shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))
        return 201, {"token": value, "expires_at": shown, "permissions": asked}

    def _deliveries(self, method: str, found: re.Match[str], query: Mapping[str, str]) -> tuple[int, Any]:
        where = found[1]
        mine = [each for each in self.sent if where == "/app/hook" or where.startswith(f"/repos/{each.repo}/")]
        if found[2] is None:
            size = min(int(query.get("per_page", _PAGE)), 100)
            newest = sorted(mine, key=lambda each: each.number, reverse=True)
            begin = int(query.get("cursor", "0"))
            if begin + size < len(newest):
                address = f"https://example.com{where}/deliveries?per_page={size}&cursor={begin + size}"
                self._links = {"link": f'<{address}>; rel="next"'}
            return 200, [_delivery(each) for each in newest[begin : begin + size]]
        one = next((each for each in mine if each.number == int(found[2])), None)
        if one is None:
            raise Answered(404, "Not Found")
        if found[3] and method == "POST":
            self.asked_again.append(one.number)
            return 202, {}
        return 200, {**_delivery(one), "request": {"headers": {"X-GitHub-Event": one.event}, "payload": one.payload}}

    def _check_runs(
        self, method: str, found: re.Match[str], query: Mapping[str, str], body: Mapping[str, Any]
    ) -> tuple[int, Any]:
        if method == "GET":
            listed = [
                each
                for each in self.checks
                if each["head_sha"] == found[2] and query.get("check_name", each["name"]) == each["name"]
            ]
            return 200, {"total_count": len(listed), "check_runs": listed}
        if method == "POST":
            made = {"id": len(self.checks) + 1, "status": "queued", "conclusion": None, **body}
            self.checks.append(made)
            return 201, made
        one = next((each for each in self.checks if each["id"] == int(found[3] or 0)), None)
        if one is None:
            raise Answered(404, "Not Found")
        one.update(body)
        return 200, one


def _delivery(each: Sent) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(each.at))
    ok = 200 <= each.status_code < 300
    return {
        "id": each.number, "guid": each.guid, "delivered_at": at, "redelivery": each.redelivery, "event": each.event,
        "action": each.action, "status": "OK" if ok else "failed to connect", "status_code": each.status_code,
    }  # fmt: skip


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
