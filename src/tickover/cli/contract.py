"""A routine's checks and triggers in words, one sentence each."""

from __future__ import annotations

import json
from functools import singledispatch
from typing import Any

from tickover.core.check import (
    Check,
    CommandCheck,
    FileCheck,
    GitCheck,
    HttpCheck,
    OutputCheck,
    ReceiptCheck,
)
from tickover.core.shape import Item


def sentence(check: Check) -> str:
    """Say what must hold, and when it is asked."""
    words = in_words(check)
    if check.patience:
        words += f", within {check.patience}"
    return f"{words} (guard: can fail a run, never verify it)" if check.guard else words


@singledispatch
def in_words(check: Check) -> str:
    """Say what must hold. A kind without words of its own is said by its keys."""
    return keys(check)


@in_words.register
def _(check: FileCheck) -> str:
    says = []
    if check.min_bytes is not None:
        says.append(f"has at least {check.min_bytes} bytes")
    if check.equals is not None:
        says.append(f"is exactly {json.dumps(check.equals)}")
    if check.sha256 is not None:
        says.append(f"has the sha256 {check.sha256}")
    if check.same_as is not None:
        says.append(f"is the same as checks/{check.same_as}")
    return f"{check.path} {' and '.join(says) or 'is there'}"


@in_words.register
def _(check: CommandCheck) -> str:
    own = ", which runs the workspace's own code" if check.subject.run else ""
    restored = f" under trusted copies of {', '.join(check.subject.restore)}" if check.subject.restore else ""
    return f"`{check.run}` exits 0{own}{restored}"


@in_words.register
def _(check: OutputCheck) -> str:
    return f"the agent's result fits checks/{check.schema_}"


@in_words.register
def _(check: GitCheck) -> str:
    what = f"the range {check.range}" if check.range is not None else f"the ref {check.ref}"
    where = "the clone the agent worked in" if check.in_ == "subject" else "the remote"
    told = _json(check)
    if "commits" in told:
        return f"{what} of {check.repo}, in {where}, has commits: {_value(told['commits'])}"
    return f"{what} of {check.repo} {'does not exist' if check.exists is False else 'exists'} in {where}"


@in_words.register
def _(check: HttpCheck) -> str:
    told = _json(check)
    words = f"GET {check.url} answers {_value(told.get('status', 200))}"
    if check.contains is not None:
        words += f" and contains {json.dumps(check.contains)}"
    if "json" in told:
        words += f" and its JSON has {_value(told['json'])}"
    return words


@in_words.register
def _(check: ReceiptCheck) -> str:
    told = _json(check)
    rest = "".join(f", {key} {_value(told[key])}" for key in ("request", "response") if key in told)
    return f"the gateway forwarded {check.to} {_value(told.get('count', 1))} times{rest}"


def keys(item: Item) -> str:
    """Say an item by the keys that its author gave."""
    return ", ".join(f"{key} {_value(value)}" for key, value in _json(item).items()) or "always"


def _json(item: Item) -> dict[str, Any]:
    return item.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
