"""Names of hosts: one canonical spelling of each, and patterns on that spelling.

Policies are compared, certificates made, addresses looked up and `Host` headers written with the canonical
spelling only, so that no two parsers on the way can read a name differently. What is no plain name is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import idna

from tickover.core.errors import UsageError
from tickover.core.text import one_line

INTERNAL = "tickover.internal"
"""The reserved name of the gateway itself, and of everything below it."""

MAX_NAME = 253
MAX_LABEL = 63

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NEVER = {
    "@": "a user or password has no place before it",
    ":": "a port or an IPv6 address has no place in it",
    "[": "an IPv6 address is no name",
    "]": "an IPv6 address is no name",
    "%": "escapes and zone ids are not read",
    "\\": "a backslash is read as a slash by some",
    "/": "the path does not belong to it",
    "?": "the query does not belong to it",
    "#": "the fragment does not belong to it",
    "*": "`*` stands only at the beginning of a pattern, as `*.`",
    "\0": "a NUL ends it for some",
}


class HostError(UsageError):
    """The text is no name of a host. It is refused, never repaired."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__("host.malformed", f"`{one_line(text, 80)}` is no host's name: {why}")


@lru_cache(maxsize=1024)
def canonical(text: str) -> str:
    """Return the one spelling of a host's name: ASCII, lower case, no trailing dot.

    IDNA 2008 on UTS 46's non-transitional mapping, and stricter: no character beyond ASCII may turn into an ASCII
    one or vanish, so that what a person reads as another character is never an allowed name. IP addresses are
    refused in every spelling that a resolver or a browser takes for one. Raises HostError.
    """
    if len(text) > 4 * MAX_NAME:
        raise HostError(text, f"it is longer than {MAX_NAME} characters")
    for sign in text:
        if sign.isascii() and not sign.isalnum() and sign not in "-.":
            raise HostError(text, _NEVER.get(sign, "only letters, digits, - and . belong in it"))
    name = text.lower() if text.isascii() else _mapped(text)
    labels = [_label(label, text) for label in name.removesuffix(".").split(".")]
    if _NUMBER.fullmatch(labels[-1]):
        raise HostError(text, "an IP address, in whatever spelling, is no name")
    name = ".".join(labels)
    if len(name) > MAX_NAME:
        raise HostError(text, f"it is longer than {MAX_NAME} characters")
    return name


def _mapped(text: str) -> str:
    try:
        for sign in text:
            if not sign.isascii() and any(each.isascii() for each in idna.uts46_remap(sign) or "."):
                raise HostError(text, f"U+{ord(sign):04X} only stands for something else")
        return idna.uts46_remap(text)
    except UnicodeError:
        raise HostError(text, "IDNA 2008 does not allow one of its characters") from None


def _label(label: str, text: str) -> str:
    if not label:
        raise HostError(text, "one of its parts is empty")
    try:
        if not label.isascii():
            label = idna.alabel(label).decode("ascii")
        if label.startswith("xn--") and idna.alabel(idna.ulabel(label)) != label.encode("ascii"):
            raise HostError(text, "an `xn--` part is not spelled as IDNA 2008 spells it")
    except UnicodeError:
        raise HostError(text, "one of its parts is not valid by IDNA 2008") from None
    if not _LABEL.fullmatch(label):
        raise HostError(text, f"a part has 1 to {MAX_LABEL} letters, digits and -, and no - at its ends")
    return label


@dataclass(frozen=True, slots=True, order=True)
class HostPattern:
    """`host`, that one name, or `*.host`, every name below it but not itself."""

    name: str
    below: bool = False

    @classmethod
    def parse(cls, text: str) -> HostPattern:
        """Read a pattern. Raises HostError."""
        return cls(canonical(text.removeprefix("*.")), below=text.startswith("*."))

    def covers(self, host: str) -> bool:
        """Say whether a name in its canonical spelling is meant."""
        return host.endswith(f".{self.name}") if self.below else host == self.name

    def __str__(self) -> str:
        return f"*.{self.name}" if self.below else self.name


def is_internal(host: str) -> bool:
    """Say whether the gateway keeps a name in its canonical spelling for itself."""
    return host == INTERNAL or host.endswith(f".{INTERNAL}")
