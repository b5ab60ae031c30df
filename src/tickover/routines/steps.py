"""Which blocks a `steps` routine runs: its own, or its skill's, never both."""

from __future__ import annotations

from tickover.core.errors import DefinitionErrors, UsageError, Where
from tickover.routines.blocks import Step, no_steps, parse_steps
from tickover.routines.loader import Loaded
from tickover.routines.skill import Skill


def steps_of(loaded: Loaded, skill: Skill | None = None) -> tuple[Step, ...]:
    """Return the steps to run. Raises DefinitionErrors if there are none, or some in both places."""
    routine = loaded.routine
    own = parse_steps(routine.body, file=loaded.file, first_line=routine.body_line)
    theirs = parse_steps(skill.body, file=skill.file, first_line=skill.body_line) if skill else ()
    if own and theirs:
        text = f"there are steps here and in the skill `{routine.skill}`: keep one of the two"
        raise DefinitionErrors([UsageError("blocks.both", text, where=Where(loaded.file, own[0].line, 1))])
    if not own and not theirs:
        raise DefinitionErrors([no_steps(Where(loaded.file, routine.body_line, 1))])
    return own or theirs
