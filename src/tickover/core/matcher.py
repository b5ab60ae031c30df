"""The matcher language: `{status: 200, text: {min_chars: 80}, branch: {not_glob: "wip/*"}}`.

A `Matcher` judges one value, `Fields` a document by paths. Both are total: they cannot hang (patterns are RE2)
and they cannot raise on any JSON. A missing value satisfies no operator but `exists: false` and `empty: true`;
`not_X` holds exactly where `X` does not. For a list, an operator holds if it holds for any element; `contains`
and `has_all` ask for members, `empty`, `exists` and `min_chars` judge the whole.

Where something is permitted, one element that fits is not enough: `throughout` asks the same of every element, so
that `channel: C0ENG` does not let `["C0ENG", "C0EVIL"]` pass.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from tickover.core.lookup import MISSING, PATH_PATTERN, JsonPath, PathError
from tickover.core.operator import OPERATORS, OperandError, Test, same

MAX_DEPTH = 8
GROUPS = ("all", "any", "not")
OF_THE_WHOLE = frozenset({"contains", "has_all", "empty", "exists", "min_chars"})


class Lists(Enum):
    """How an operator judges a list whose elements it looks at."""

    ANY = "any"
    """As the operator says itself: one element is enough, and for a `not_X` none may be X."""
    EVERY = "every"
    """Every element by itself, and there is one."""
    SOME = "some"
    """One element by itself: the other side of EVERY, inside a `not`."""


_OPPOSITE = {Lists.ANY: Lists.ANY, Lists.EVERY: Lists.SOME, Lists.SOME: Lists.EVERY}


@dataclass(frozen=True, slots=True)
class Clause:
    """One line of an explanation: what was asked, what was there, and whether that will do."""

    path: str
    says: str
    value: Any
    ok: bool
    depth: int = 0

    def __str__(self) -> str:
        asked = f"{self.path} {self.says}".strip()
        got = "" if self.says in GROUPS else f": got {shown(self.value)}"
        return f"{'  ' * self.depth}{'✓' if self.ok else '✗'} {asked}{got}"


def shown(value: Any) -> str:
    """Show a value in one line, cut at 80 characters."""
    if isinstance(value, str):
        value = value[:100]
    text = str(value) if value is MISSING else json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


class MatcherError(ValueError):
    """The definition is no matcher. `at` leads from its top to the wrong part."""

    def __init__(self, message: str, at: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.at = at


class Node(Protocol):
    """A parsed part: judges a value (the document, for `Fields`) at a path."""

    def holds(self, value: Any, lists: Lists) -> bool: ...
    def clauses(self, value: Any, path: str, depth: int, lists: Lists) -> Iterator[Clause]: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """One operator with its operand."""

    name: str
    operand: Any
    test: Test
    negated: bool

    def holds(self, value: Any, lists: Lists) -> bool:
        whole = lists is Lists.ANY or self.name.removeprefix("not_") in OF_THE_WHOLE
        if whole or not isinstance(value, list | tuple):
            return self.test(value) is not self.negated
        each = [self.test(element) is not self.negated for element in value]
        return any(each) if lists is Lists.SOME else bool(each) and all(each)

    def clauses(self, value: Any, path: str, depth: int, lists: Lists) -> Iterator[Clause]:
        yield Clause(path, f"{self.name} {shown(self.operand)}", value, self.holds(value, lists), depth)


@dataclass(frozen=True, slots=True)
class At:
    """A matcher on what stands at a path of the document."""

    path: JsonPath
    node: Node

    def holds(self, value: Any, lists: Lists) -> bool:
        return self.node.holds(self.path.get(value), lists)

    def clauses(self, value: Any, path: str, depth: int, lists: Lists) -> Iterator[Clause]:
        yield from self.node.clauses(self.path.get(value), f"{path}{self.path}", depth, lists)


@dataclass(frozen=True, slots=True)
class Group:
    """`all`, `any` or `not` of other parts. The plain map of operators is a silent `all`."""

    name: str
    nodes: tuple[Node, ...]
    silent: bool = False

    def holds(self, value: Any, lists: Lists) -> bool:
        each = (node.holds(value, self._inside(lists)) for node in self.nodes)
        if self.name == "any":
            return any(each)
        return all(each) is not (self.name == "not")

    def clauses(self, value: Any, path: str, depth: int, lists: Lists) -> Iterator[Clause]:
        if not self.silent:
            yield Clause(path, self.name, value, self.holds(value, lists), depth)
            depth += 1
        for node in self.nodes:
            yield from node.clauses(value, path, depth, self._inside(lists))

    def _inside(self, lists: Lists) -> Lists:
        return _OPPOSITE[lists] if self.name == "not" else lists


class _Parsed:
    """What `Matcher` and `Fields` share: a source, a tree, and pydantic's two hooks."""

    SCHEMA: JsonSchemaValue

    def __init__(self, source: Any) -> None:
        self.source = source
        self._node = self._parse(source)

    @staticmethod
    def _parse(source: Any) -> Node:
        raise NotImplementedError

    def matches(self, value: Any, *, throughout: bool = False) -> bool:
        return self._node.holds(value, Lists.EVERY if throughout else Lists.ANY)

    def explain(self, value: Any, path: str = "", *, throughout: bool = False) -> list[Clause]:
        """Every clause with its value and verdict, all of them, also after the first that fails."""
        return list(self._node.clauses(value, path, 0, Lists.EVERY if throughout else Lists.ANY))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and same(self.source, other.source)

    def __hash__(self) -> int:
        return hash(json.dumps(self.source, sort_keys=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source!r})"

    @classmethod
    def _validate(cls, source: Any) -> _Parsed:
        if isinstance(source, cls):
            return source
        try:
            return cls(source)
        except MatcherError as error:
            context = {"text": str(error), "at": list(error.at)}
            raise PydanticCustomError("matcher", "{text}", context) from None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda parsed: parsed.source),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {PLACEHOLDER: cls.__name__}


class Matcher(_Parsed):
    """Judges one value: a scalar is equal, a list is one of, a map is all of its operators."""

    @staticmethod
    def _parse(source: Any) -> Node:
        return _matcher(source, (), 0)


class Fields(_Parsed):
    """Judges a document: a map of paths to matchers, all of which must hold."""

    @staticmethod
    def _parse(source: Any) -> Node:
        return _fields(source, (), 0)

    def paths(self) -> tuple[JsonPath, ...]:
        """List the paths it looks at: what must be kept of a document for it to judge the same."""
        return tuple(_paths(self._node))


def _paths(node: Node) -> Iterator[JsonPath]:
    if isinstance(node, At):
        yield node.path
    elif isinstance(node, Group):
        for each in node.nodes:
            yield from _paths(each)


Parser = Callable[[Any, tuple[str | int, ...], int], Node]


def _matcher(source: Any, at: tuple[str | int, ...], depth: int) -> Node:
    if isinstance(source, list | tuple):
        return _ask("in", list(source), at)
    if not isinstance(source, Mapping):
        return _ask("is", source, at)
    nodes = [
        _group(_matcher, key, value, (*at, key), depth) if key in GROUPS else _ask(key, value, (*at, key))
        for key, value in _entries(source, at, depth)
    ]
    return nodes[0] if len(nodes) == 1 else Group("all", tuple(nodes), silent=True)


def _fields(source: Any, at: tuple[str | int, ...], depth: int) -> Node:
    if not isinstance(source, Mapping):
        raise MatcherError("a map of paths to matchers belongs here", at)
    nodes: list[Node] = []
    for key, value in _entries(source, at, depth):
        if key in GROUPS:
            nodes.append(_group(_fields, key, value, (*at, key), depth))
            continue
        try:
            path = JsonPath.parse(key)
        except PathError as error:
            raise MatcherError(str(error), (*at, key)) from None
        nodes.append(At(path, _matcher(value, (*at, key), depth + 1)))
    return Group("all", tuple(nodes), silent=True)


def _entries(source: Mapping[Any, Any], at: tuple[str | int, ...], depth: int) -> list[tuple[str, Any]]:
    if depth >= MAX_DEPTH:
        raise MatcherError(f"nested deeper than {MAX_DEPTH}", at)
    if not source:
        raise MatcherError("an empty map asks nothing", at)
    if not all(isinstance(key, str) for key in source):
        raise MatcherError("a key must be text", at)
    return list(source.items())


def _group(parse: Parser, name: str, value: Any, at: tuple[str | int, ...], depth: int) -> Node:
    if name == "not":
        return Group(name, (parse(value, at, depth + 1),))
    if not isinstance(value, list | tuple) or not value:
        raise MatcherError(f"`{name}` takes a list, not an empty one", at)
    return Group(name, tuple(parse(each, (*at, index), depth + 1) for index, each in enumerate(value)))


def _ask(name: str, operand: Any, at: tuple[str | int, ...]) -> Ask:
    operator = OPERATORS.get(name.removeprefix("not_"))
    if operator is None:
        near = difflib.get_close_matches(name, [*OPERATORS, *(f"not_{each}" for each in OPERATORS), *GROUPS], 1)
        meant = f"; did you mean `{near[0]}`?" if near else "; a field inside is written with a path, a.b"
        raise MatcherError(f"`{name[:40]}` is no operator{meant}", at)
    try:
        return Ask(name, operand, operator.prepare(operand), name.startswith("not_"))
    except OperandError as error:
        raise MatcherError(f"`{name}` takes {error}", at) from None


PLACEHOLDER = "x-definition"
"""Stands in a JSON Schema for a `$ref` to one of the two below, which refer to each other (routines/schema.py)."""


def json_schemas() -> dict[str, JsonSchemaValue]:
    """Make the JSON Schemas of Matcher and Fields, referring to each other by `PLACEHOLDER`."""
    matcher = {PLACEHOLDER: "Matcher"}
    fields = {PLACEHOLDER: "Fields"}

    def groups(inner: JsonSchemaValue) -> dict[str, JsonSchemaValue]:
        each = {"type": "array", "minItems": 1, "items": inner}
        return {"all": each, "any": each, "not": inner}

    asks = {f"{no}{name}": operator.schema for name, operator in OPERATORS.items() for no in ("", "not_")}
    operators = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {**groups(matcher), **asks},
    }
    return {
        "Matcher": {"anyOf": [OPERATORS["is"].schema, OPERATORS["in"].schema, operators]},
        "Fields": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^(?:{PATH_PATTERN})$"},
            "properties": groups(fields),
            "additionalProperties": matcher,
        },
    }
