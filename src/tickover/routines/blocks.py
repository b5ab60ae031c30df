"""The steps of a `steps` routine: the fenced blocks of its Markdown, as CommonMark sees them.

A block is a step if its language is `bash`, `sh`, `python` or `js`; every other block is prose. The info string
may give an id and a timeout: ```` ```bash id=fetch timeout=5m ````. A block's title is the heading above it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pydantic_core import PydanticCustomError

from tickover.core.errors import DefinitionErrors, TickoverError, UsageError, Where
from tickover.core.limits import Duration

Lang = Literal["bash", "sh", "python", "js"]
LANGS: tuple[Lang, ...] = get_args(Lang)
_MEANT = {
    **dict.fromkeys(("shell", "zsh"), "bash"),
    **dict.fromkeys(("py", "python3"), "python"),
    **dict.fromkeys(("javascript", "node", "mjs"), "js"),
}
_OPTIONS = ("id", "timeout")
_ID = re.compile(r"[a-z0-9-]{1,64}")

# Blocks only: nothing here reads emphasis and links, and 20 levels of lists and quotes are enough.
_MARKDOWN = MarkdownIt("commonmark", {"maxNesting": 20})
_MARKDOWN.core.ruler.disable("inline")


@dataclass(frozen=True, slots=True)
class Step:
    """One block to run. `line` is where its fence opens."""

    id: str
    lang: Lang
    code: str
    title: str = ""
    timeout: Duration | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class _Fence:
    """A fenced block as it stands: its info string, its heading, and whether it is closed."""

    info: str
    code: str
    title: str
    line: int
    closed: bool


def parse_steps(markdown: str, *, file: str = "ROUTINE.md", first_line: int = 1) -> tuple[Step, ...]:
    """Find the steps in Markdown that begins in `first_line` of `file`.

    Raises DefinitionErrors with every problem: an open fence, an unknown option, an id used twice, an empty block.
    """
    steps: list[Step] = []
    problems: list[TickoverError] = []
    for fence in _fences(markdown, first_line):
        try:
            step = _step(fence, len(steps) + 1)
        except ValueError as error:
            problems.append(UsageError("blocks.step", str(error), where=Where(file, fence.line, 1)))
            continue
        if step is None:
            continue
        same = next((each for each in steps if each.id == step.id), None)
        if same is not None:
            text = f"a second step `{step.id}`; the first is in line {same.line}"
            problems.append(UsageError("blocks.duplicate", text, where=Where(file, fence.line, 1)))
        steps.append(step)
    if problems:
        raise DefinitionErrors(problems)
    return tuple(steps)


def no_steps(where: Where) -> UsageError:
    """Say that there is nothing to run."""
    hint = f"a step is a fenced block of {', '.join(LANGS)}: ```bash id=NAME timeout=5m"
    return UsageError("blocks.none", "agent `steps` has no step to run", hint=hint, where=where)


def _fences(markdown: str, first_line: int) -> Iterator[_Fence]:
    title = ""
    tokens: list[Token] = _MARKDOWN.parse(f"{markdown}\n")
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            title = " ".join(token.content.split())
        if token.type == "fence" and token.map is not None:
            first, end = token.map
            closed = end - first == token.content.count("\n") + 2
            yield _Fence(token.info.strip(), token.content, title, first + first_line, closed)


def _step(fence: _Fence, number: int) -> Step | None:
    """Make a step of a fence, or None of prose. Raises ValueError with the sentence to print."""
    word, *options = fence.info.split() or [""]
    lang = next((each for each in LANGS if each == word), None)
    if lang is None:
        meant = _MEANT.get(word.lower()) or (word.lower() if word.lower() in LANGS else None)
        if meant and options:
            raise ValueError(f"`{word}` is no language of a step; write `{meant}`, or no options if it is only shown")
        return None
    if not fence.closed:
        raise ValueError("the fence that opens here is never closed")
    if not fence.code.strip():
        raise ValueError("the block is empty")
    given = _options(options)
    return Step(
        id=given.get("id", f"step-{number}"),
        lang=lang,
        code=fence.code,
        title=fence.title,
        timeout=_timeout(given["timeout"]) if "timeout" in given else None,
        line=fence.line,
    )


def _options(words: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in _OPTIONS:
            near = difflib.get_close_matches(key, _OPTIONS, 1, 0.5)
            meant = f"did you mean `{near[0]}=`?" if near else "there is id=NAME and timeout=DUR"
            raise ValueError(f"unknown option `{word[:40]}`; {meant}")
        if key in found:
            raise ValueError(f"`{key}` is given twice")
        if key == "id" and not _ID.fullmatch(value):
            raise ValueError("an id is 1 to 64 of a-z, 0-9 and -")
        found[key] = value
    return found


def _timeout(text: str) -> Duration:
    try:
        timeout = Duration.parse(text)
    except PydanticCustomError as error:
        raise ValueError(f"timeout: {error.message()}") from None
    if timeout <= 0:
        raise ValueError("timeout: more than nothing is needed here")
    return timeout
