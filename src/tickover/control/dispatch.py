"""From a request to a run: inputs are typed, what cannot be is refused with its reason, the run is a row."""

from __future__ import annotations

import math
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tickover.control.keep import TTL
from tickover.core.built import not_yet
from tickover.core.cassette import Header
from tickover.core.definition import Input, Routine
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import DefinitionErrors, UsageError
from tickover.core.event import RunCreated, Scalar, payload
from tickover.core.refs import with_refs
from tickover.core.text import one_line
from tickover.routines.loader import OWN, Loaded
from tickover.store.base import Blobs, Lease, Store

LONGEST_INPUTS: Final = 64 << 10  # characters of all inputs together: they stand in the journal and the environment
_TRUE = {"true": True, "false": False}
_NUMBER = re.compile(r"[-+]?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One wish to run a routine. `inputs` are words as typed; `repositories` overrides a repository's url by name."""

    folder: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    event: bytes | None = None
    repositories: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False
    wait: bool = True
    trigger: str = "manual"
    record: str | None = None
    """The routine's folder as it was kept, if the run's traffic is to be recorded."""
    replay: Header | None = None
    """The recording that answers in the place of the world."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run that has its row: what `execute` works on."""

    run: str
    lease: Lease
    request: RunRequest
    loaded: Loaded
    routine: Routine
    inputs: dict[str, Scalar]
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Inputs that are files: the input's name -> content."""
    boundary: str = field(default_factory=lambda: secrets.token_hex(16))
    """What stands around the event in the prompt, so that the event cannot end it."""

    @property
    def inside(self) -> str:
        """The run's name for the agent and the checks: a replay is the run that it replays."""
        return self.request.replay.run if self.request.replay else self.run

    @property
    def event(self) -> Any:
        """The event as JSON where it is JSON, else None."""
        return document_of(self.request.event)


def document_of(event: bytes | None) -> Any:
    """Return an event as JSON where it is JSON, else None."""
    try:
        return read_json(event or b"null")
    except DocumentError:
        return None


def accept(
    store: Store,
    blobs: Blobs,
    loaded: Loaded,
    request: RunRequest,
    owner: str,
    *,
    random: Callable[[int], str],
    possible: Callable[[Routine], object] = lambda _routine: None,
) -> Accepted:
    """Judge a request and create its run, held by `owner`. Raises UsageError for what no run can be made of.

    `possible` raises it for what this instance can never give.
    """
    routine = _with_repositories(loaded.routine, request.repositories)
    replay = request.replay
    if replay is not None:
        retry = routine.retry.model_copy(update={"attempts": 1})
        routine = routine.model_copy(update={"retry": retry, "agent": _pinned(routine, replay.build)})
    missing = not_yet(routine, "run")
    if missing:
        raise DefinitionErrors(list(missing))
    routine = with_refs(routine, document_of(request.event))
    possible(routine)
    inputs = typed_inputs(routine.inputs, request.inputs)
    run = f"{time.strftime('%y%m%d-%H%M%S', time.gmtime())}-{random(3)}"
    created = RunCreated(
        routine=routine.name,
        title=routine.description,
        trigger=request.trigger,
        inputs=inputs,
        event_digest=None if request.event is None else blobs.put(request.event),
        isolation=routine.isolation,
        folder=request.folder,
        replay_of=None if replay is None else replay.run,
    )
    # The lease first: a run without one is taken for what a killed process left, by whoever starts meanwhile.
    lease = store.leases.acquire(run, owner, TTL)
    store.journal.append(run, lease.fence, [{"type": created.type, **payload(created)}])
    boundary = secrets.token_hex(16) if replay is None else replay.boundary
    return Accepted(run, lease, request, loaded, routine, inputs, boundary=boundary)


def _pinned(routine: Routine, build: str) -> str:
    """Return the agent at the build that was recorded, where it has builds."""
    return build if build.startswith(f"{routine.agent_name}@") else routine.agent


def _with_repositories(routine: Routine, urls: Mapping[str, str]) -> Routine:
    unknown = sorted(set(urls) - set(routine.repositories))
    if unknown:
        have = ", ".join(routine.repositories) or "none"
        raise UsageError("input.repository", f"the routine has no repository `{unknown[0]}`", hint=f"it has: {have}")
    changed = {
        name: repository.model_copy(update={"url": _address(urls[name])}) if name in urls else repository
        for name, repository in routine.repositories.items()
    }
    if any(repository.url == OWN for repository in changed.values()):
        raise UsageError(
            "repository.not_git",
            "`url: .` is the git repository that contains the routine, and this folder is in none",
            hint="clone it with git, or say which repository: --repo NAME=PATH-or-URL",
        )
    return routine.model_copy(update={"repositories": changed})


def _address(word: str) -> str:
    """Return a URL as it is, and any other word as the absolute path of a folder."""
    return word if "://" in word else os.path.abspath(word)


def typed_inputs(declared: Mapping[str, Input], given: Mapping[str, str]) -> dict[str, Scalar]:
    unknown = sorted(set(given) - set(declared))
    if unknown:
        have = ", ".join(declared) or "none"
        raise UsageError("input.unknown", f"the routine has no input `{unknown[0]}`", hint=f"it has: {have}")
    values: dict[str, Scalar] = {}
    for name, what in declared.items():
        if name in given:
            values[name] = _typed(name, what.type, given[name])
        elif what.default is not None:
            values[name] = what.default
        else:
            raise UsageError("input.missing", f"the input `{name}` is required", hint=f"--input {name}=VALUE")
    if (size := sum(len(str(value)) for value in values.values())) > LONGEST_INPUTS:
        text = f"the inputs have {size} characters together, more than {LONGEST_INPUTS}"
        raise UsageError("input.too_long", text, hint="send them in the event")
    return values


def _typed(name: str, kind: str, word: str) -> Scalar:
    wrong = UsageError("input.type", f"the input `{name}` is no {kind}: {one_line(word)!r}")
    if kind == "string":
        if "\0" in word:
            raise UsageError("input.nul", f"the input `{name}` holds a NUL character", hint="send it in the event")
        if not word.isascii() and word.encode("utf-8", "replace").decode() != word:
            raise UsageError("input.no_text", f"the input `{name}` is not UTF-8", hint="send it in the event")
        return word
    try:
        if kind == "boolean":
            return _TRUE[word]
        if not _NUMBER.fullmatch(word):
            raise wrong
        if kind == "integer":
            return int(word)
        value = float(word)
    except (ValueError, KeyError):
        raise wrong from None
    if not math.isfinite(value):
        raise wrong
    return value
