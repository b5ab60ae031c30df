"""The matcher's operators, one row each: what operand it takes, and the test it makes of it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2
from pydantic.json_schema import JsonSchemaValue

from tickover.core.lookup import MISSING

Test = Callable[[Any], bool]

_MAX_PATTERN = 1000
_RE2 = re2.Options()
_RE2.log_errors = False
_RE2.max_mem = 1 << 20


class OperandError(ValueError):
    """The operand is of the wrong kind; the text says what belongs there."""


@dataclass(frozen=True, slots=True)
class Operator:
    """`prepare` turns an operand into a test or raises OperandError; `schema` describes the operand."""

    prepare: Callable[[Any], Test]
    schema: JsonSchemaValue


def same(one: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1, and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def _any_element(test: Test) -> Test:
    return lambda value: any(map(test, value)) if isinstance(value, list | tuple) else test(value)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is(operand: Any) -> Test:
    if not _is_scalar(operand):
        raise OperandError("one value: text, a number, true, false or null")
    return _any_element(lambda value: same(value, operand))


def _scalars(operand: Any) -> list[Any]:
    if not isinstance(operand, list | tuple) or not operand or not all(map(_is_scalar, operand)):
        raise OperandError("a list of values, not an empty one")
    return list(operand)


def _in(operand: Any) -> Test:
    wanted = _scalars(operand)
    return _any_element(lambda value: any(same(value, each) for each in wanted))


def _contains(operand: Any) -> Test:
    if not isinstance(operand, list | tuple) and not _is_scalar(operand):
        raise OperandError("a value or a list of values")
    wanted = _scalars(operand) if isinstance(operand, list | tuple) else [operand]

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return any(isinstance(each, str) and each in value for each in wanted)
        return isinstance(value, list | tuple) and any(same(inner, each) for inner in value for each in wanted)

    return test


def _has_all(operand: Any) -> Test:
    wanted = _scalars(operand)

    def test(value: Any) -> bool:
        is_list = isinstance(value, list | tuple)
        return is_list and all(any(same(inner, each) for inner in value) for each in wanted)

    return test


def _texts(operand: Any) -> list[str]:
    texts = operand if isinstance(operand, list | tuple) else [operand]
    if not texts or not all(isinstance(text, str) and len(text) <= _MAX_PATTERN for text in texts):
        raise OperandError(f"text of at most {_MAX_PATTERN} characters, or a list of such")
    return list(texts)


def _on_text(prepare: Callable[[str], Callable[[str], bool]]) -> Callable[[Any], Test]:
    """Make an operator on text; with several operands it is enough that one of them holds."""

    def operator_of(operand: Any) -> Test:
        tests = [prepare(text) for text in _texts(operand)]
        return _any_element(lambda value: isinstance(value, str) and any(test(value) for test in tests))

    return operator_of


def _pattern(text: str, *, whole: bool) -> Callable[[str], bool]:
    try:
        compiled = re2.compile(text.encode("utf-8", "replace"), _RE2)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else ""
        raise OperandError(f"a pattern of RE2's syntax: {reason}".rstrip(": ")) from None
    find = compiled.fullmatch if whole else compiled.search
    return lambda value: find(value.encode("utf-8", "replace")) is not None


def _glob(text: str) -> Callable[[str], bool]:
    """`*` and `?` stop at a slash, `**` does not."""
    signs = {"**": r"(?s:.*)", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*|\*|\?)", text)
    return _pattern("".join(signs.get(part) or re2.escape(part) for part in parts), whole=True)


def _compare(test: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    def operator_of(operand: Any) -> Test:
        if not is_number(operand):
            raise OperandError("a number")
        return _any_element(lambda value: is_number(value) and test(value, operand))

    return operator_of


def _exists(operand: Any) -> Test:
    if not isinstance(operand, bool):
        raise OperandError("true or false")
    return lambda value: (value is not MISSING) is operand


def _empty(operand: Any) -> Test:
    if not isinstance(operand, bool):
        raise OperandError("true or false")

    def is_empty(value: Any) -> bool:
        return value is None or value is MISSING or (isinstance(value, str | list | tuple | dict) and not value)

    return lambda value: is_empty(value) is operand


def _min_chars(operand: Any) -> Test:
    if not isinstance(operand, int) or isinstance(operand, bool) or operand < 0:
        raise OperandError("a whole number")
    return lambda value: isinstance(value, str) and len(value.strip()) >= operand


_SCALAR: JsonSchemaValue = {"type": ["string", "number", "boolean", "null"]}
_SCALARS: JsonSchemaValue = {"type": "array", "minItems": 1, "items": _SCALAR}
_TEXT: JsonSchemaValue = {"type": "string", "maxLength": _MAX_PATTERN}
_TEXTS: JsonSchemaValue = {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _TEXT}]}
_NUMBER: JsonSchemaValue = {"type": "number"}
_FLAG: JsonSchemaValue = {"type": "boolean"}

OPERATORS: dict[str, Operator] = {
    "is": Operator(_is, _SCALAR),
    "in": Operator(_in, _SCALARS),
    "contains": Operator(_contains, {"anyOf": [_SCALAR, _SCALARS]}),
    "starts_with": Operator(_on_text(lambda text: lambda value: value.startswith(text)), _TEXTS),
    "ends_with": Operator(_on_text(lambda text: lambda value: value.endswith(text)), _TEXTS),
    "matches": Operator(_on_text(lambda text: _pattern(text, whole=True)), _TEXTS),
    "search": Operator(_on_text(lambda text: _pattern(text, whole=False)), _TEXTS),
    "glob": Operator(_on_text(_glob), _TEXTS),
    "gt": Operator(_compare(operator.gt), _NUMBER),
    "gte": Operator(_compare(operator.ge), _NUMBER),
    "lt": Operator(_compare(operator.lt), _NUMBER),
    "lte": Operator(_compare(operator.le), _NUMBER),
    "exists": Operator(_exists, _FLAG),
    "empty": Operator(_empty, _FLAG),
    "has_all": Operator(_has_all, _SCALARS),
    "min_chars": Operator(_min_chars, {"type": "integer", "minimum": 0}),
}
