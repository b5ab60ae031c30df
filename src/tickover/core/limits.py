"""Time and size with their units (`20m`, `2GiB`), and the three maps that bound a run."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from tickover.core.shape import Between, Maybe, Strict


class Measure(int):
    """A whole number written with its unit; it counts in the smallest one. Arithmetic gives plain numbers."""

    UNITS: ClassVar[dict[str, int]]
    MOST: ClassVar[int]
    SAYS: ClassVar[str]

    @classmethod
    def parse(cls, text: Any) -> Self:
        """Read `20m`. No unit, an unknown one or too much is a pydantic error with the sentence to print."""
        if isinstance(text, cls):
            return text
        units = "|".join(cls.UNITS)
        found = re.fullmatch(rf"(0|[1-9][0-9]{{0,8}})({units})", text) if isinstance(text, str) else None
        if found is None:
            raise PydanticCustomError("measure", "{text}", {"text": cls.SAYS})
        value = cls(int(found[1]) * cls.UNITS[found[2]])
        if value > cls.MOST:
            raise PydanticCustomError("measure", "{text}", {"text": f"at most {cls(cls.MOST)}"})
        return value

    def __str__(self) -> str:
        """Write it in the largest unit that is exact: 90s, 20m, 7d."""
        unit, size = max(
            ((unit, size) for unit, size in self.UNITS.items() if self % size == 0), key=lambda pair: pair[1]
        )
        return f"{int(self) // size}{unit}" if self else f"0{next(iter(self.UNITS))}"

    __repr__ = __str__

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema(when_used="always")
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^(0|[1-9][0-9]{{0,8}})({'|'.join(cls.UNITS)})$"}


class Duration(Measure):
    """Seconds, written `30s`, `20m`, `4h` or `7d`."""

    UNITS: ClassVar[dict[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    MOST: ClassVar[int] = 3650 * 86400
    SAYS: ClassVar[str] = "a duration is a whole number with its unit: 30s, 20m, 4h, 7d"


class Size(Measure):
    """Bytes, written `64KiB`, `512MiB` or `2GiB`."""

    UNITS: ClassVar[dict[str, int]] = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    MOST: ClassVar[int] = 1 << 50
    SAYS: ClassVar[str] = "a size is a whole number with its unit: 64KiB, 512MiB, 2GiB"


class _Positive:
    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._more_than_none, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        inner = handler(schema)
        return {**inner, "pattern": inner["pattern"].replace("(0|", "(")}

    @staticmethod
    def _more_than_none(value: Measure) -> Measure:
        if value <= 0:
            raise PydanticCustomError("measure", "{text}", {"text": "more than nothing is needed here"})
        return value


class _AtLeast:
    """A bound that no schema's pattern can say."""

    def __init__(self, least: Size) -> None:
        self._least = least

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._enough, handler(source))

    def _enough(self, value: Size) -> Size:
        if value < self._least:
            raise PydanticCustomError("measure", "{text}", {"text": f"at least {self._least} is needed here"})
        return value


Period = Annotated[Duration, _Positive()]
Amount = Annotated[Size, _Positive()]
Count = Annotated[int, Between(1, 1_000_000_000_000)]
Positive = Annotated[int | float, Between(0.01, 1_000_000, whole=False)]

Retriable = Literal[
    "infrastructure", "model_overloaded", "lost", "clone_failed", "setup_failed", "timeout", "agent_failed"
]
"""The names of `core/retry.py`."""


class Limits(Strict):
    """What a run may take. A limit that is left out and has no default does not bind."""

    timeout: Period = Duration(3600)
    concurrent: Annotated[int, Between(1, 1000)] = 1
    cost_usd: Maybe[Positive] = None
    tokens: Maybe[Count] = None
    runs_per_day: Maybe[Count] = None
    min_interval: Maybe[Period] = None
    cost_usd_per_day: Maybe[Positive] = None
    memory: Annotated[Amount, _AtLeast(Size(16 << 20))] = Size(2 << 30)
    cpus: Positive = 2
    pids: Annotated[int, Between(1, 1_000_000)] = 512
    disk: Annotated[Amount, _AtLeast(Size(1 << 20))] = Size(5 << 30)
    output: Amount = Size(64 << 20)


class Retry(Strict):
    """How often a run is tried, how long to wait before the next attempt, and for which causes."""

    attempts: Annotated[int, Between(1, 100)] = 1
    backoff: Duration = Duration(30)
    when: tuple[Retriable, ...] = ("infrastructure", "model_overloaded")


class Watch(Strict):
    """How long an agent may be silent: until it starts, until its first answer, between two signs of life."""

    init: Period = Duration(30)
    first_answer: Period = Duration(120)
    progress: Period = Duration(600)
