"""From an event to inputs. Paths are looked up here; templates and JSONata only in a child that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from tickover.core.errors import TickoverError
from tickover.core.event import Scalar
from tickover.core.lookup import MISSING, JsonPath
from tickover.core.text import one_line
from tickover.core.trigger import INPUT_FOLDER, FileInput

WALL: Final = 5.0
"""Seconds after which a child that does not answer is killed, whatever it does. Its CPU time ends it long before."""

START: Final = 60.0
_LONGEST: Final = 8 << 20  # of an answer's line; larger is a failure
_TEXT: Final = 64 << 10
_JSONATA: Final = "jsonata"


class MappingError(TickoverError):
    """The inputs could not be made of this event. The event is kept; nothing runs."""


def is_path(text: str) -> bool:
    """Tell a path (`$.a.b`) from a template."""
    return text == "$" or text.startswith(("$.", "$["))


def file_value(wanted: FileInput, document: Any) -> bytes | None:
    """Return what the file holds: a text as it is, all else as JSON; None for a path that leads nowhere or to null."""
    value = JsonPath.parse(wanted.file).get(document)
    if value is MISSING or value is None:
        return None
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


def file_inputs(mapping: Mapping[str, str | FileInput], document: Any) -> dict[str, bytes]:
    """Return the contents of the inputs that are files."""
    found = {name: file_value(each, document) for name, each in mapping.items() if isinstance(each, FileInput)}
    return {name: content for name, content in found.items() if content is not None}


class Mapper:
    """Owns the child and a spare one, so that a bomb costs the next event nothing. `close` ends both.

    `wall` is in seconds; the CPU time of a job is limited to a quarter of a second by the child itself.
    """

    def __init__(self, *, wall: float = WALL) -> None:
        self._wall = wall
        self._busy = asyncio.Lock()
        self._child: _Child | None = None
        self._spare: asyncio.Task[_Child] | None = None

    async def inputs(self, mapping: Mapping[str, str | FileInput], document: Any) -> dict[str, Scalar]:
        """Return the values for a routine's inputs; a path that leads nowhere or to null gives none.

        Raises MappingError: `mapping.no_scalar`, `mapping.failed` (with the language's sentence), `mapping.killed`,
        `mapping.memory`, `mapping.not_installed`.
        """
        whole = mapping.get(_JSONATA)
        if len(mapping) == 1 and isinstance(whole, str) and not is_path(whole):
            made = await self._ask({"templates": {}, "jsonata": whole}, document)
            if not isinstance(made, dict):
                raise MappingError("mapping.no_map", "the JSONata expression does not give a map of inputs")
            return {name: _scalar(name, value) for name, value in made.items() if value is not None}
        found: dict[str, Scalar] = {}
        templates: dict[str, str] = {}
        for name, text in mapping.items():
            if isinstance(text, FileInput):
                if file_value(text, document) is not None:
                    found[name] = f"{INPUT_FOLDER}/{name}"
                continue
            if not is_path(text):
                templates[name] = text
            elif (value := JsonPath.parse(text).get(document)) not in (MISSING, None):
                found[name] = _scalar(name, value)
        if any("{" in text for text in templates.values()):
            templates = await self._ask({"templates": templates, "jsonata": None}, document)
        return {**found, **templates}

    async def close(self) -> None:
        async with self._busy:
            if self._spare is not None:
                with contextlib.suppress(MappingError):
                    await (await self._spare).end()
                self._spare = None
            if self._child is not None:
                await self._child.end()
                self._child = None

    async def _ask(self, job: dict[str, Any], document: Any) -> Any:
        body = json.dumps(None if document is MISSING else document).encode()
        async with self._busy:
            child = self._child or await self._next()
            self._child = None
            if self._spare is None:
                self._spare = asyncio.create_task(_Child.start())
            try:
                told = await asyncio.wait_for(child.ask({**job, "size": len(body)}, body), self._wall)
            except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, ValueError):
                await child.end()
                raise MappingError(
                    "mapping.killed",
                    "the mapping took too long or too much memory and was killed",
                    hint="a template has 250 ms; name single values, without loops over ranges",
                ) from None
            except BaseException:
                await asyncio.shield(child.end())
                raise
            self._child = child
        if "code" in told:
            raise MappingError(str(told["code"])[:40], one_line(str(told.get("says")), 500))
        return told.get("ok")

    async def _next(self) -> _Child:
        spare, self._spare = self._spare, None
        return await (spare if spare is not None else _Child.start())


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> _Child:
        """Start a child and wait until it has loaded its languages."""
        program = os.path.join(os.path.dirname(__file__), "child.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-B",
            program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            limit=_LONGEST,
        )
        self = cls(process)
        try:
            told = await asyncio.wait_for(self._line(), START)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, ValueError):
            await self.end()
            raise MappingError("mapping.no_child", "the process that maps events does not start") from None
        except BaseException:
            await asyncio.shield(self.end())
            raise
        assert told == {"ready": True}
        return self

    async def ask(self, job: dict[str, Any], body: bytes) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n" + body)
        await self._process.stdin.drain()
        return await self._line()

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - else its pipes warn at exit

    async def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(await self._process.stdout.readuntil(b"\n"))
        return found


def _scalar(name: str, value: Any) -> Scalar:
    what = one_line(name, 64)
    if isinstance(value, list | dict):
        hint = "name one value in it"
        raise MappingError("mapping.no_scalar", f"the value for the input `{what}` is a list or a map", hint=hint)
    if isinstance(value, str) and len(value) > _TEXT:
        text = f"the value for the input `{what}` has {len(value)} characters, more than {_TEXT}"
        raise MappingError("mapping.too_long", text, hint="the whole event is a file in the sandbox")
    if isinstance(value, float) and not math.isfinite(value):
        raise MappingError("mapping.no_scalar", f"the value for the input `{what}` is no number")
    scalar: Scalar = value
    return scalar
