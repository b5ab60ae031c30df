"""Permissions: the entries of `may`. All that a routine can change outside, asked here, granted by the instance."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from tickover.core.check import Target
from tickover.core.matcher import Fields
from tickover.core.shape import Between, Flag, Glob, Item, Maybe, Name, OneKind, Scalar, Text

Most = Annotated[int, Between(1)]


class Permission(Item):
    """What all permissions can do: say themselves in words."""

    def sentence(self, repositories: dict[str, str]) -> str:
        """Say in words what can change. `repositories` gives a name's address as people say it."""
        raise NotImplementedError


class PushPermission(Permission):
    """Push to some refs of one of the routine's repositories."""

    KIND: ClassVar[str] = "push"

    repo: Name
    refs: Annotated[tuple[Glob, ...], Field(min_length=1)]
    force: Flag = False
    delete: Flag = False

    def sentence(self, repositories: dict[str, str]) -> str:
        also = [word for word, on in (("overwritten", self.force), ("deleted", self.delete)) if on]
        extra = f" (also {' and '.join(also)})" if also else ""
        return f"branches {', '.join(self.refs)} of {repositories.get(self.repo, self.repo)}{extra}"


class RequestPermission(Permission):
    """Send requests of one method to one address."""

    KIND: ClassVar[str] = "request"

    to: Target
    credential: Maybe[Name] = None
    json_: Maybe[Fields] = None
    max: Maybe[Most] = None

    def sentence(self, repositories: dict[str, str]) -> str:  # noqa: ARG002 - the same question to all
        method, url = self.to.split(" ", 1)
        return f"{amount(self.max)} {method} request{'' if self.max == 1 else 's'} to {url}"


class ConnectorPermission(Permission):
    """Call one tool of a connector; the connector knows its further keys (`channels`).

    `json` says what the arguments of an MCP server's tool must hold.
    """

    __pydantic_extra__: dict[str, Scalar | list[Scalar]]
    model_config = ConfigDict(extra="allow")

    tool: Text
    json_: Maybe[Fields] = None
    max: Maybe[Most] = None

    @property
    def fields(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def sentence(self, repositories: dict[str, str]) -> str:  # noqa: ARG002 - the same question to all
        plural = "" if self.max == 1 else "s"
        if (self.kind, self.tool) == ("slack", "post_message"):
            channels = self.fields.get("channels", "any channel")
            return f"{amount(self.max)} message{plural} in {_listed(channels)}"
        narrowed = "; ".join(f"{key} {_listed(value)}" for key, value in self.fields.items())
        if self.json_ is not None:
            narrowed = f"if {', '.join(map(str, self.json_.paths()))} is as it must be"
        return f"{amount(self.max)} call{plural} of {self.kind}'s {self.tool}{f' ({narrowed})' if narrowed else ''}"


def amount(most: int | None) -> str:
    """Put the count in words. No `max` is any number."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    if most is None:
        return "any number of"
    count = words[most] if most < len(words) else str(most)
    return count if most == 1 else f"up to {count}"


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


PERMISSIONS: dict[str, type[Permission]] = {each.KIND: each for each in (PushPermission, RequestPermission)}
PermissionItem = Annotated[Permission, OneKind(PERMISSIONS, others=ConnectorPermission)]
