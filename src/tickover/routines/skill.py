"""SKILL.md by the Agent Skills specification: found at the trusted commit, checked, never run from a workspace.

The specification is docs/specification.mdx of github.com/agentskills/agentskills. A field it does not know is a
warning here: agents add their own (Claude Code has a dozen), and a skill is often somebody else's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tickover.core.errors import DefinitionErrors, NotFoundError, TickoverError, UsageError, Where
from tickover.core.tree import Tree
from tickover.routines.loader import split
from tickover.routines.tree import SubTree
from tickover.routines.yaml import Document, decode, parse

FILE = "SKILL.md"
IN_ROUTINE = ("skills/{name}", "{name}")
IN_REPOSITORY = (".claude/skills/{name}", ".agents/skills/{name}")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_FIELDS = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
_LONGEST = {"name": 64, "description": 1024, "compatibility": 500}


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill: its text, and the tree of its folder. `file` says where it was found."""

    name: str
    description: str
    body: str
    tree: Tree
    file: str
    body_line: int = 1
    fields: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def find_skill(name: str, routine: Tree, repositories: Sequence[tuple[str, Tree]] = ()) -> Skill:
    """Find a skill in the routine's folder, then in `.claude/skills`, then in `.agents/skills` of each repository.

    `repositories` are names with trees of their trusted commits. Raises NotFoundError with the places asked,
    DefinitionErrors for a SKILL.md that is wrong.
    """
    places = [(routine, place, "") for place in IN_ROUTINE]
    places += [(tree, place, f"{repo}:") for place in IN_REPOSITORY for repo, tree in repositories]
    asked = []
    for tree, place, prefix in places:
        folder = place.format(name=name)
        asked.append(f"{prefix}{folder}/{FILE}")
        raw = tree.read(f"{folder}/{FILE}")
        if raw is not None:
            return parse_skill(raw, name, SubTree(tree, folder), file=asked[-1])
    raise NotFoundError("skill.not_found", f"there is no skill `{name}`", hint=f"looked for {', '.join(asked)}")


def parse_skill(raw: bytes, folder: str, tree: Tree, *, file: str = FILE) -> Skill:
    """Read a SKILL.md whose folder is called `folder`. Raises DefinitionErrors with every problem."""
    try:
        front, body, body_line = split(decode(raw, file), file)
        document = parse(front, file, first_line=2)
    except UsageError as error:
        raise DefinitionErrors([error]) from None
    if not isinstance(document.data, dict):
        raise DefinitionErrors([
            UsageError("skill.no_map", "the front matter is a map of keys", where=Where(file, 2, 1))
        ])  # fmt: skip
    fields = document.data
    problems = [*_texts(fields, document, file), *_name(fields, folder, document, file)]
    if problems:
        raise DefinitionErrors(problems)
    extra = tuple(
        f"{file}: `{key}` is no field of the Agent Skills specification; only some agents read it"
        for key in fields
        if key not in _FIELDS
    )
    return Skill(fields["name"], fields["description"], body, tree, file, body_line, fields, extra)


def _texts(fields: dict[str, Any], document: Document, file: str) -> list[TickoverError]:
    found: list[TickoverError] = []
    for key in _FIELDS:
        value = fields.get(key)
        if key not in fields:
            if key in {"name", "description"}:
                found.append(_problem("missing", f"`{key}` is required", document, file, ()))
        elif key == "metadata":
            if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
                found.append(_problem("type", "`metadata` is a map of text to text", document, file, (key,)))
        elif not isinstance(value, str) or not value.strip():
            found.append(_problem("type", f"`{key}` is text", document, file, (key,)))
        elif len(value) > _LONGEST.get(key, len(value)):
            text = f"`{key}` has {len(value)} characters, more than {_LONGEST[key]}"
            found.append(_problem("too_long", text, document, file, (key,)))
    return found


def _name(fields: dict[str, Any], folder: str, document: Document, file: str) -> list[TickoverError]:
    name = fields.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST["name"]:
        return []
    if not _NAME.fullmatch(name):
        text = "a skill's name is a-z and 0-9, with single hyphens between them"
        return [_problem("name", text, document, file, ("name",))]
    if name != folder:
        return [_problem("name", f"`{name}` is not the folder's name, `{folder}`", document, file, ("name",))]
    return []


def _problem(code: str, text: str, document: Document, file: str, path: tuple[str, ...]) -> UsageError:
    mark = document.nearest(path)
    where = Where(file, mark.line if mark else None, mark.column if mark else None, path[0] if path else None)
    return UsageError(f"skill.{code}", text, where=where)
