"""The ground that every definition stands on: strict maps, items of one kind, and forms of text.

A definition is validated by pydantic and described by the JSON Schema made from the same classes. What stands
here keeps the two alike: each rule gives its check and its line of schema together.
"""

from __future__ import annotations

import functools
import operator
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

T = TypeVar("T")


def _yaml_name(field: str) -> str:
    """`in_` and `json_` are `in` and `json` in YAML: the first is Python's word, the second pydantic's."""
    return field.removesuffix("_")


class Strict(BaseModel):
    """A map of known keys. A key without a value is left out when written: a dump is again a definition."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=_yaml_name, use_attribute_docstrings=True)

    EXACTLY_ONE: ClassVar[tuple[str, ...]] = ()
    AT_MOST_ONE: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _choices(self) -> Self:
        given = {_yaml_name(field) for field in self.model_fields_set}
        for keys, least in ((self.EXACTLY_ONE, 1), (self.AT_MOST_ONE, 0)):
            found = [key for key in keys if key in given]
            if keys and not least <= len(found) <= 1:
                wanted = f"{'exactly' if least else 'at most'} one of {', '.join(keys)}"
                got = " and ".join(found) or "none"
                raise PydanticCustomError("choice", "{text}", {"text": f"give {wanted}, not {got}"})
        return self

    @model_serializer(mode="wrap")
    def _given_only(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchemaValue:
        outer = handler(schema)
        body = handler.resolve_ref_schema(outer)
        if cls.EXACTLY_ONE:
            body["oneOf"] = [{"required": [key]} for key in cls.EXACTLY_ONE]
        if cls.AT_MOST_ONE:
            pairs = [[a, b] for a in cls.AT_MOST_ONE for b in cls.AT_MOST_ONE if a < b]
            body["allOf"] = [{"not": {"required": pair}} for pair in pairs]
        return outer


class Item(Strict):
    """An entry of `on`, `may`, `expect` or `noop`; in YAML a map with one key, the item's `kind`."""

    KIND: ClassVar[str] = ""
    _kind: str = PrivateAttr(default="")

    def model_post_init(self, _context: object, /) -> None:
        self._kind = type(self).KIND

    @property
    def kind(self) -> str:
        return self._kind

    def named(self, kind: str) -> Self:
        """Tell the item the key under which it was found: a provider's or a connector's name."""
        self._kind = kind
        return self


class OneKind:
    """Annotation of a list's entries: exactly one of the known kinds, or with `others` any other name."""

    def __init__(self, kinds: Mapping[str, type[Item]], others: type[Item] | None = None) -> None:
        self.kinds = kinds
        self.others = others

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        fields = {
            kind: core_schema.typed_dict_field(handler.generate_schema(model), required=False)
            for kind, model in self.kinds.items()
        }
        others = handler.generate_schema(self.others) if self.others else None
        item = core_schema.typed_dict_schema(
            fields, extra_behavior="allow" if others else "forbid", extras_schema=others
        )
        return core_schema.no_info_wrap_validator_function(
            self._one, item, serialization=core_schema.plain_serializer_function_ser_schema(_as_map)
        )

    def _one(self, value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Item:
        if isinstance(value, Item):
            return value
        if isinstance(value, dict) and len(value) != 1:
            text = f"an entry is a map with exactly one key, its kind, not {len(value)}"
            raise PydanticCustomError("one_kind", "{text}", {"text": text})
        [(kind, item)] = handler(value).items()
        NAME.check(kind)
        if not isinstance(item, Item):
            raise TypeError(f"{item!r} is no Item")
        return item.named(kind)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        one = {"minProperties": 1, "maxProperties": 1, "propertyNames": {"pattern": NAME.schema}}
        return {**handler(schema), **one}


def _as_map(item: Item) -> dict[str, Any]:
    return {item.kind: item.model_dump(mode="json", by_alias=True)}


class _Given:
    """The type without its None: `key:` with nothing after it is an error, not a default."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        rest = tuple(arg for arg in get_args(source) if arg is not types.NoneType)
        inner = handler.generate_schema(functools.reduce(operator.or_, rest))
        return core_schema.no_info_before_validator_function(self._check, core_schema.nullable_schema(inner))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        [inner] = [each for each in handler(schema)["anyOf"] if each != {"type": "null"}]
        says = {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}
        return dict(inner) if says & inner.keys() else {**inner, "not": {"type": "null"}}

    @staticmethod
    def _check(value: Any) -> Any:
        if value is None:
            raise PydanticCustomError("empty", "{text}", {"text": "the key has no value"})
        return value


Maybe = Annotated[T | None, _Given()]
"""A key that may be left out (then None), but not be empty."""


@dataclass(frozen=True, slots=True)
class Form:
    """Text of one form: a pattern for programs, a sentence for people."""

    pattern: str
    says: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.schema}

    @property
    def schema(self) -> str:
        return f"^(?:{self.pattern})$"

    def check(self, value: T) -> T:
        if not re.fullmatch(self.pattern, str(value)):
            raise PydanticCustomError("form", "{text}", {"text": self.says})
        return value


def by_shape(value: Any) -> str:
    """Tag a union's member: which one is meant is plain from the value's shape."""
    if isinstance(value, str):
        return "<text>"
    if isinstance(value, int) and not isinstance(value, bool):
        return "<number>"
    return "<list>" if isinstance(value, list | tuple) else "<map>"


ByShape = Discriminator(by_shape)


@dataclass(frozen=True, slots=True)
class Between:
    """A number within bounds: never text, never true. 3.0 is whole."""

    least: float | None = None
    most: float | None = None
    whole: bool = True

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        bounds = {"minimum": self.least, "maximum": self.most}
        given = {word: bound for word, bound in bounds.items() if bound is not None}
        return {"type": "integer" if self.whole else "number", **given}

    def check(self, value: Any) -> int | float:
        if self.whole and type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int and (self.whole or type(value) is not float):
            text = "a whole number belongs here" if self.whole else "a number belongs here"
            raise PydanticCustomError("type", "{text}", {"text": text})
        number: int | float = value
        if self.least is not None and number < self.least:
            raise PydanticCustomError("bound", "{text}", {"text": f"at least {self.least}"})
        if self.most is not None and number > self.most:
            raise PydanticCustomError("bound", "{text}", {"text": f"at most {self.most}"})
        return number


@dataclass(frozen=True, slots=True)
class _Plain:
    """A value of one of these types and no other: no text for a number, no 1 for true."""

    types: tuple[type, ...]
    says: str
    schema: tuple[str, ...]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": list(self.schema)}

    def check(self, value: Any) -> Any:
        if type(value) not in self.types:
            raise PydanticCustomError("type", "{text}", {"text": self.says})
        return value


Whole = Annotated[int, Between()]
Flag = Annotated[bool, Field(strict=True)]
Scalar = Annotated[
    str | int | float | bool,
    _Plain((str, int, float, bool), "text, a number, true or false belongs here", ("string", "number", "boolean")),
]

NAME = Form(r"[a-z0-9-]{1,64}", "a name is 1 to 64 of a-z, 0-9 and -")
Name = Annotated[str, NAME]
VariableName = Annotated[str, Form(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "a variable's name is letters, digits and _")]
Line = Annotated[str, Form(r"[^\r\n]*", "one line only")]
Text = Annotated[str, Form(r"[^\0]*\S[^\0]*", "there is no text in it")]
RELATIVE = r"(?!/)(?!(?:.*/)?\.\.(?:/|$))[^\0\\\r\n]{1,1024}"
Path = Annotated[str, Form(RELATIVE, "a path is relative, with / between its parts and no ..")]
Glob = Annotated[str, Form(RELATIVE, "a glob is a relative path with * ** and ?, and no ..")]
