"""ROUTINE.md to a Routine: all problems at once, each with its line, its key and, where one is near, the right key."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ValidationError

from tickover.core.check import CommandCheck, FileCheck, OutputCheck
from tickover.core.definition import AGENTS, Environment, FrontMatter, Routine, forwarding
from tickover.core.errors import DefinitionErrors, NotFoundError, TickoverError, UsageError, Where
from tickover.core.rules import problems
from tickover.core.tree import Tree
from tickover.core.trigger import ScheduleTrigger
from tickover.routines.blocks import no_steps, parse_steps
from tickover.routines.schema import keys_at
from tickover.routines.syntax import minor_inside, unreadable
from tickover.routines.tree import FolderTree, MemoryTree
from tickover.routines.yaml import Document, KeyPath, YamlError, decode, parse

FILE = "ROUTINE.md"
OWN = "."
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A routine with what it came from: the file's bytes, the places of its keys, the tree of its folder."""

    routine: Routine
    raw: bytes
    document: Document
    tree: Tree
    file: str = FILE

    def where(self, path: KeyPath) -> Where:
        """Find the place of a key, for an error that speaks of it."""
        return _where(self.document, self.file, path)

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Give problems that name only a key the file, line and column where it stands."""
        try:
            yield
        except DefinitionErrors as error:
            raise DefinitionErrors([self._placed(each) for each in error.problems]) from None

    def _placed(self, problem: TickoverError) -> TickoverError:
        where = problem.where
        if where is None or where.key is None or where.file is not None:
            return problem
        return UsageError(problem.code, problem.message, hint=problem.hint, where=self.where(key_path(where.key)))


def load_folder(folder: str) -> Loaded:
    """Load `folder/ROUTINE.md`; a named environment is `environments/NAME.yaml` beside the folder's parent.

    Raises NotFoundError if there is none, DefinitionErrors with every problem, TreeError for what is unreadable.
    """
    folder = os.path.abspath(folder)
    name = os.path.basename(folder)
    environments = FolderTree(os.path.join(os.path.dirname(os.path.dirname(folder)), "environments"))
    return load(FolderTree(folder), name, environments, os.path.join(folder, FILE), _repository_of(folder))


def _repository_of(folder: str) -> str | None:
    """Find the address of the git repository that a folder is in."""
    while not os.path.exists(os.path.join(folder, ".git")):
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
    return f"file://{quote(folder)}"


def load(
    tree: Tree, name: str | None, environments: Tree | None = None, file: str = FILE, origin: str | None = None
) -> Loaded:
    """Load ROUTINE.md of a tree that is the routine's folder, called `name` (None: whatever the file says).

    `origin` is the address of the repository it is in, which a routine may call `.`.
    """
    raw = tree.read(FILE)
    if raw is None:
        raise NotFoundError("definition.not_found", "there is no such file", where=Where(file))
    loaded = parse_routine(raw, file=file, environments=environments, tree=tree)
    found = [*_named(loaded, name), *_files(loaded), *_zones(loaded), *_steps(loaded)]
    if found:
        raise DefinitionErrors(found)
    repositories = {
        key: each if each.url != OWN else each.model_copy(update={"url": origin or OWN})
        for key, each in loaded.routine.repositories.items()
    }
    return replace(loaded, routine=loaded.routine.model_copy(update={"repositories": repositories}))


def parse_routine(
    raw: bytes, *, file: str = FILE, environments: Tree | None = None, tree: Tree | None = None
) -> Loaded:
    """Read the text of a ROUTINE.md. Raises DefinitionErrors with every problem in it."""
    try:
        front, body, body_line = split(decode(raw, file), file)
        document = parse(front, file, first_line=2)
        if not isinstance(document.data, dict):
            raise UsageError("definition.no_map", "the front matter is a map of keys", where=Where(file, 2, 1))
    except DefinitionErrors:
        raise
    except UsageError as error:
        raise DefinitionErrors([error]) from None
    matter = validated(FrontMatter, document, file)
    environment = _environment(matter, document, file, environments)
    try:
        may = (*matter.may, *forwarding(matter.remote))
    except ValidationError as error:
        text = f"nothing can be sent to `url`: {error.errors()[0]['msg']}"
        where = _where(document, file, ("remote", "url"))
        raise DefinitionErrors([UsageError("definition.remote", text, where=where)]) from None
    routine = Routine.model_construct(
        matter.model_fields_set | {"body"},
        **{**dict(matter), "environment": environment, "body": body, "body_line": body_line, "may": may},
    )
    broken = [
        UsageError(each.code, each.message, hint=each.hint, where=_where(document, file, each.at))
        for each in problems(routine)
    ]
    if broken:
        raise DefinitionErrors(_ordered(broken))
    return Loaded(routine, raw, document, tree if tree is not None else MemoryTree({FILE: raw}), file)


def split(text: str, file: str = FILE) -> tuple[str, str, int]:
    """Front matter, body, and the line the body begins in. The fences are lines of exactly `---`."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        hint = "the keys stand between two lines of ---, then the prompt"
        raise UsageError("definition.no_front_matter", "line 1 is not `---`", hint=hint, where=Where(file, 1, 1))
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == "---":
            return "\n".join(lines[1 : number - 1]) + "\n", "\n".join(lines[number:]), number + 1
    raise UsageError("definition.open_front_matter", "the second `---` is missing", where=Where(file, len(lines), 1))


def _environment(matter: FrontMatter, document: Document, file: str, environments: Tree | None) -> Environment:
    if isinstance(matter.environment, Environment):
        return matter.environment
    name = matter.environment
    path = f"{name}.yaml"
    raw = environments.read(path) if environments is not None else None
    if raw is None:
        have = [found.path.removesuffix(".yaml") for found in environments.list()] if environments else []
        near = difflib.get_close_matches(name, have, 1)
        raise DefinitionErrors([
            UsageError(
                "definition.no_environment", f"there is no environments/{path} beside `routines/`",
                hint=f"did you mean `{near[0]}`?" if near else "", where=_where(document, file, ("environment",)),
            )
        ])  # fmt: skip
    place = f"environments/{path}"
    try:
        inner = parse(decode(raw, place), place)
    except YamlError as error:
        raise DefinitionErrors([error]) from None
    return validated(Environment, inner, place)


def validated(model: type[M], document: Document, file: str) -> M:
    """Read a document as `model`. Raises DefinitionErrors: each problem with its line and the nearest key."""
    try:
        return model.model_validate({} if document.data is None else document.data)
    except ValidationError as error:
        found = [_problem(model, each, document, file) for each in error.errors(include_url=False)]
        raise DefinitionErrors(_ordered(found)) from None


def _ordered(found: list[UsageError]) -> list[TickoverError]:
    return sorted(found, key=lambda each: (each.where.line or 0, each.where.column or 0) if each.where else (0, 0))


def _problem(model: type[BaseModel], error: Any, document: Document, file: str) -> UsageError:
    context = error.get("ctx", {})
    path = (*_yaml_path(error["loc"]), *context.get("at", ()))
    kind = error["type"]
    where = _where(document, file, path)
    if kind == "extra_forbidden":
        return UsageError("definition.unknown_key", f"unknown key `{path[-1]}`", hint=_right(model, path), where=where)
    if kind == "missing":
        hint = _inside(model, path)
        return UsageError("definition.missing_key", f"`{dotted(path)}` is required", hint=hint, where=where)
    value = error.get("input")
    if value is None:
        return UsageError("definition.empty", f"`{path[-1]}` has no value", where=where)
    choices = AGENTS if path == ("agent",) else _choices(error)
    near = difflib.get_close_matches(value, choices, 1) if isinstance(value, str) else []
    hint = f"did you mean `{near[0]}`?" if near else _shape_hint(model, path, kind)
    return UsageError(f"definition.{_CODES.get(kind, kind)}", _sentence(error), hint=hint, where=where)


def _right(model: type[BaseModel], path: KeyPath) -> str:
    """Say what an unknown key may have meant: one that stands a level deeper or higher, or one of a similar name."""
    above, name = path[:-1], path[-1]
    known = keys_at(above, model)
    deeper = [key for key in known if name in keys_at((*above, key), model)]
    higher = [dotted(path[:end]) for end in range(len(above)) if name in keys_at(path[:end], model)]
    if deeper:
        return f"`{name}` stands inside {' or '.join(f'`{key}`' for key in deeper)}"
    near = difflib.get_close_matches(str(name), known, 1, 0.5)
    if higher and not near:
        return f"`{name}` stands inside `{higher[-1]}`" if higher[-1] else f"`{name}` stands at the top, without indent"
    return f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"


def _inside(model: type[BaseModel], path: KeyPath) -> str:
    keys = keys_at(path, model)
    return f"its keys: {', '.join(keys)}" if keys else ""


def _shape_hint(model: type[BaseModel], path: KeyPath, kind: str) -> str:
    if kind == "string_type":
        return "put it in quotes"
    if kind == "tuple_type":
        return "begin each item with `- `, or put [ ] around"
    return _inside(model, path) if _SENTENCES.get(kind) == "a map belongs here" else ""


_CODES = {
    **dict.fromkeys(("string_type", "int_type", "bool_type", "dict_type", "tuple_type", "model_type"), "type"),
    **dict.fromkeys(("model_attributes_type", "type", "int_from_float", "union_tag_invalid"), "type"),
    "literal_error": "value",
    "form": "value",
}
_SENTENCES = {
    "string_type": "text belongs here",
    "int_type": "a whole number belongs here",
    "int_from_float": "a whole number belongs here",
    "bool_type": "true or false belongs here",
    "dict_type": "a map belongs here",
    "model_type": "a map belongs here",
    "model_attributes_type": "a map belongs here",
    "tuple_type": "a list belongs here",
    "too_short": "the list is too short",
    "too_long": "the list is too long",
}
_SHAPES = {"<text>": "text", "<number>": "a whole number", "<list>": "a list", "<map>": "a map"}


def _sentence(error: Any) -> str:
    if error["type"] == "union_tag_invalid":
        tags = error["ctx"]["expected_tags"]
        return f"{' or '.join(words for tag, words in _SHAPES.items() if tag in tags)} belongs here"
    if error["type"] == "literal_error":
        return f"one of {', '.join(_choices(error))}"
    return _SENTENCES.get(error["type"], str(error["msg"]))


def _choices(error: Any) -> list[str]:
    expected = error.get("ctx", {}).get("expected", "") if error["type"] == "literal_error" else ""
    return [word.strip("'") for word in expected.replace(" or ", ", ").split(", ") if word]


def _yaml_path(loc: Sequence[str | int]) -> KeyPath:
    """Pydantic's place without the names of union members and key markers, which no YAML has."""
    return tuple(part for part in loc if part != "[key]" and not (isinstance(part, str) and part[:1] == "<"))


def dotted(path: KeyPath) -> str:
    """Write a path as `expect[0].http.url`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def key_path(text: str) -> KeyPath:
    """Read what `dotted` wrote."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", text))


def _where(document: Document, file: str, path: KeyPath) -> Where:
    mark = document.nearest(path)
    return Where(file, mark.line if mark else None, mark.column if mark else None, dotted(path) or None)


def _named(loaded: Loaded, name: str | None) -> list[TickoverError]:
    if name is None or loaded.routine.name == name:
        return []
    text = f"`{loaded.routine.name}` is not the folder's name, `{name}`"
    return [UsageError("definition.name", text, where=loaded.where(("name",)))]


def _files(loaded: Loaded) -> list[TickoverError]:
    """Find what the contract compares with or runs and what is not there, or no program, in the routine's `checks/`."""
    missing: list[TickoverError] = []
    for list_name, checks in (("expect", loaded.routine.expect), ("noop", loaded.routine.noop)):
        for index, check in enumerate(checks):
            if isinstance(check, OutputCheck):
                key, path = "schema", check.schema_
            elif isinstance(check, FileCheck) and check.same_as is not None:
                key, path = "same_as", check.same_as
            elif isinstance(check, CommandCheck) and (program := _PROGRAM.match(check.run)):
                key, path = "run", program[1]
            else:
                continue
            if "{{" in path:
                continue
            data, where = loaded.tree.read(f"checks/{path}"), loaded.where((list_name, index, check.kind, key))
            if data is None:
                have = [each.path.removeprefix("checks/") for each in loaded.tree.list("checks")]
                near = difflib.get_close_matches(path, have, 1)
                hint = f"did you mean `{near[0]}`?" if near else ""
                missing.append(UsageError("definition.no_file", f"there is no checks/{path}", hint=hint, where=where))
            elif check.kind == "command" and path.endswith(".py") and (why := unreadable(data, minor_inside())):
                text = f"checks/{path} is no Python program: {why}"
                missing.append(UsageError("definition.check_syntax", text, where=where))
    return missing


# A check's line that begins with a file of its own. Others say it in ways that only a shell understands.
_PROGRAM = re.compile(r"(?:python3|bash|sh) ([A-Za-z0-9_][A-Za-z0-9_/-]*\.(?:py|sh))(?=\s|$)")


def _steps(loaded: Loaded) -> list[TickoverError]:
    """Find what is wrong with a routine's own steps; those of a skill are read when it is."""
    routine = loaded.routine
    if routine.agent_name != "steps" or routine.skill is not None:
        return []
    try:
        steps = parse_steps(routine.body, file=loaded.file, first_line=routine.body_line)
    except DefinitionErrors as error:
        return error.problems
    return [] if steps else [no_steps(Where(loaded.file, routine.body_line, 1))]


def _zones(loaded: Loaded) -> list[TickoverError]:
    unknown: list[TickoverError] = []
    for index, trigger in enumerate(loaded.routine.on):
        if not isinstance(trigger, ScheduleTrigger):
            continue
        try:
            ZoneInfo(trigger.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            where = loaded.where(("on", index, "schedule", "time_zone"))
            text = f"no time zone `{trigger.time_zone}` is known"
            unknown.append(UsageError("definition.time_zone", text, hint="Europe/Berlin, UTC, ...", where=where))
    return unknown
