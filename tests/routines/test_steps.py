from __future__ import annotations

import pytest

from tickover.core.errors import DefinitionErrors
from tickover.routines.loader import parse_routine
from tickover.routines.skill import Skill, parse_skill
from tickover.routines.steps import steps_of
from tickover.routines.tree import MemoryTree

FRONT = "---\nname: r\nagent: steps\nskill: s\n---\n"
BLOCK = "```bash id=a\necho\n```\n"


SKILL = parse_skill(f"---\nname: s\ndescription: x\n---\n\n{BLOCK}".encode(), "s", MemoryTree({}), file="s/SKILL.md")
PROSE = parse_skill(b"---\nname: s\ndescription: x\n---\nRead it.\n", "s", MemoryTree({}))


@pytest.mark.parametrize(("body", "skill", "line"), [(BLOCK, None, 6), (BLOCK, PROSE, 6), ("Follow it.", SKILL, 6)])
def test_steps_come_from_one_place(body: str, skill: Skill | None, line: int) -> None:
    [step] = steps_of(parse_routine((FRONT + body).encode()), skill)
    assert (step.id, step.line) == ("a", line)


@pytest.mark.parametrize(("body", "skill", "code"), [(BLOCK, SKILL, "blocks.both"), ("Words.", None, "blocks.none")])
def test_never_from_both_and_never_from_none(body: str, skill: Skill | None, code: str) -> None:
    with pytest.raises(DefinitionErrors) as caught:
        steps_of(parse_routine((FRONT + body).encode()), skill)
    assert caught.value.code == code
