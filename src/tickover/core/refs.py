"""A repository's `ref` as a template of the event: data from outside, so it becomes a plain ref name or nothing."""

from __future__ import annotations

from typing import Any

from tickover.core.definition import Routine
from tickover.core.errors import UsageError, Where
from tickover.core.push import NO_REF
from tickover.core.template import TemplateError, plain_word, render


def with_refs(routine: Routine, event: Any) -> Routine:
    """Return the routine with every `ref` filled in from the event (a document; None: there is none).

    Raises UsageError where a value is missing or does not make the name of a branch, a tag or a commit: never an
    option, never two names. `trusted_ref` holds no template: an event does not choose what is believed.
    """
    changed = {}
    for name, repository in routine.repositories.items():
        if repository.ref is None or "{{" not in repository.ref:
            continue
        where = Where(key=f"repositories.{name}.ref")
        try:
            ref = render(repository.ref, {"event": event}, plain_word)
        except TemplateError as error:
            raise UsageError("input.ref", f"`{where.key}`: {error.message}", hint=error.hint, where=where) from None
        if NO_REF.search(ref):
            text = f"`{where.key}`: what the event gives makes no name of a branch, a tag or a commit"
            raise UsageError("input.ref", text, where=where)
        changed[name] = repository.model_copy(update={"ref": ref})
    return routine.model_copy(update={"repositories": {**routine.repositories, **changed}}) if changed else routine
