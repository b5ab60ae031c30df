"""`{{ inputs.week }}`: one value looked up by its path, and nothing else. No filters, no logic, no defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from tickover.core.errors import UsageError
from tickover.core.lookup import MISSING, JsonPath, PathError

Quote = Callable[[str], str]

_HOLE = re.compile(r"\{\{(.*?)(\}\}|\Z)", re.DOTALL)
_WORD = re.compile(r"(?![-.])[A-Za-z0-9_.:/@=,-]{1,200}")

_BASE = re.compile(r"https?://[A-Za-z0-9_.:\[\]-]{1,255}(?:/[A-Za-z0-9_.~/-]{0,500})?")

IN_CHECKS = ("inputs", "event", "run", "state.last_commit")
IN_REFS = ("event",)


class TemplateError(UsageError):
    """A template cannot be read, or one of its values is not there or not fit for the place."""


def references(text: str, allowed: Iterable[str] | None = None) -> list[JsonPath]:
    """List the paths that a text asks for. Raises TemplateError for a broken or forbidden one."""
    roots = None if allowed is None else tuple(allowed)
    found = []
    for hole in _HOLE.finditer(text):
        if not hole[2]:
            raise TemplateError("template.open", "`{{` without `}}`")
        path = _path(hole[1].strip())
        if roots is not None and not any(_under(path.text, root) for root in roots):
            can = ", ".join(roots) or "nothing"
            raise TemplateError("template.unknown", f"`{path}` cannot be used here", hint=f"available: {can}")
        found.append(path)
    return found


def _path(inside: str) -> JsonPath:
    try:
        return JsonPath.parse(inside)
    except PathError as error:
        raise TemplateError(
            "template.path", str(error), hint="a template is one path in {{ }}: no filters, no logic"
        ) from None


def _under(path: str, root: str) -> bool:
    return path == root or path.startswith((f"{root}.", f"{root}["))


def render(text: str, scope: Mapping[str, Any], quote: Quote = str) -> str:
    """Put each value in its place, through `quote`. What comes from an event must be a plain word besides.

    Raises TemplateError where a value is missing, is no scalar, or is refused by `quote`.
    """
    references(text)

    def fill(hole: re.Match[str]) -> str:
        path = _path(hole[1].strip())
        value = path.get(scope)
        if value is MISSING or value is None:
            raise TemplateError("template.missing", f"`{path}` has no value in this run")
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int | float):
            raise TemplateError("template.no_scalar", f"`{path}` is a list or a map; name one value in it")
        filled = plain_word(str(value)) if path.parts[0] == "event" else str(value)
        return quote(filled)

    return _HOLE.sub(fill, text)


def plain_word(value: str) -> str:
    """Quote for shell text, refs and paths: refuse whatever a shell, git or a path could read as more."""
    if not _WORD.fullmatch(value) or ".." in value:
        raise TemplateError(
            "template.unsafe",
            "a value is no plain word, so it is not put in here",
            hint="letters, digits and _ . : / @ = , - (not first), at most 200, no ..",
        )
    return value


def url_base(value: str) -> str:
    """Quote for the beginning of a URL: scheme and host, perhaps a path; no user, no query."""
    if not _BASE.fullmatch(value):
        raise TemplateError("template.unsafe", "a URL begins with a value that is no http:// or https:// address")
    return value.rstrip("/")


def url_part(value: str) -> str:
    """Quote for one part of a URL."""
    if value in {"", ".", ".."}:
        raise TemplateError("template.unsafe", "an empty or dotted value cannot be a part of a URL")
    return quote(value, safe="")
