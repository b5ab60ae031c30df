"""The model that a routine names, as an agent is told of it."""

from __future__ import annotations

from tickover.agents.base import AGENTS_OWN, ModelAt
from tickover.core.definition import Model, Routine


def model_at(routine: Routine) -> ModelAt:
    """Return the model at an address of the routine's own; the agent's own where there is none."""
    model = routine.model
    return ModelAt(model.name, model.url, model.wire) if isinstance(model, Model) else AGENTS_OWN
