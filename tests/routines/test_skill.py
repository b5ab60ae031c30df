from __future__ import annotations

import pytest

from tickover.core.errors import DefinitionErrors, NotFoundError
from tickover.routines.skill import find_skill, parse_skill
from tickover.routines.tree import MemoryTree

GOOD = b"---\nname: digest\ndescription: Make a digest.\n---\n# Digest\n"
NONE = MemoryTree({})


def test_the_specification_s_fields() -> None:
    raw = (
        b"---\nname: digest\ndescription: Make a digest.\nlicense: MIT\ncompatibility: Needs git.\n"
        b'metadata: {author: a, version: "1.0"}\nallowed-tools: Read Bash(git:*)\n---\nDo it.\n'
    )
    skill = parse_skill(raw, "digest", NONE)
    assert (skill.name, skill.description, skill.body, skill.body_line) == ("digest", "Make a digest.", "Do it.\n", 9)
    assert skill.warnings == ()


def test_fields_of_some_agents_are_a_warning() -> None:
    raw = GOOD.replace(b"---\n#", b"disable-model-invocation: true\nmodel: opus\n---\n#")
    warnings = parse_skill(raw, "digest", NONE, file="a/SKILL.md").warnings
    assert [warning.split("`")[1] for warning in warnings] == ["disable-model-invocation", "model"]
    assert warnings[0].startswith("a/SKILL.md: ")


@pytest.mark.parametrize(
    ("front", "codes"),
    [
        ("description: x", ["skill.missing"]),
        ("name: digest", ["skill.missing"]),
        ("{}", ["skill.missing", "skill.missing"]),
        ("name: other\ndescription: x", ["skill.name"]),
        ("name: Digest\ndescription: x", ["skill.name"]),
        ("name: -digest\ndescription: x", ["skill.name"]),
        ("name: di--gest\ndescription: x", ["skill.name"]),
        (f"name: {'a' * 65}\ndescription: x", ["skill.too_long"]),
        ("name: digest\ndescription: ''", ["skill.type"]),
        ("name: digest\ndescription: 5", ["skill.type"]),
        (f"name: digest\ndescription: {'x' * 1025}", ["skill.too_long"]),
        (f"name: digest\ndescription: x\ncompatibility: {'x' * 501}", ["skill.too_long"]),
        ("name: digest\ndescription: x\nmetadata: [a]", ["skill.type"]),
        ("name: digest\ndescription: x\nmetadata: {a: 1}", ["skill.type"]),
        ("name: digest\ndescription: x\nallowed-tools: [Read]", ["skill.type"]),
        ("[a]", ["skill.no_map"]),
        ("name: !!str digest", ["yaml.tag"]),
    ],
)
def test_a_skill_that_breaks_the_specification(front: str, codes: list[str]) -> None:
    with pytest.raises(DefinitionErrors) as caught:
        parse_skill(f"---\n{front}\n---\n".encode(), "digest", NONE)
    assert [problem.code for problem in caught.value.problems] == codes


def test_a_problem_has_its_line() -> None:
    with pytest.raises(DefinitionErrors) as caught:
        parse_skill(b"---\ndescription: x\nname: other\n---\n", "digest", NONE, file="s/SKILL.md")
    where = caught.value.problems[0].where
    assert where is not None
    assert str(where) == "s/SKILL.md:3:1 (name)"


@pytest.mark.parametrize("place", ["skills/digest", "digest"])
def test_the_routine_s_folder_comes_first(place: str) -> None:
    routine = MemoryTree({f"{place}/SKILL.md": GOOD, f"{place}/scripts/a.py": b"x"})
    repository = MemoryTree({".claude/skills/digest/SKILL.md": GOOD})
    skill = find_skill("digest", routine, [("app", repository)])
    assert skill.file == f"{place}/SKILL.md"
    assert [entry.path for entry in skill.tree.list()] == ["SKILL.md", "scripts/a.py"]
    assert skill.tree.read("scripts/a.py") == b"x"


def test_then_claude_s_folder_then_the_agents_folder() -> None:
    both = MemoryTree({".claude/skills/digest/SKILL.md": GOOD, ".agents/skills/digest/SKILL.md": GOOD})
    one = MemoryTree({".agents/skills/digest/SKILL.md": GOOD})
    assert find_skill("digest", NONE, [("one", one), ("both", both)]).file == "both:.claude/skills/digest/SKILL.md"
    assert find_skill("digest", NONE, [("one", one)]).file == "one:.agents/skills/digest/SKILL.md"


def test_a_skill_that_is_nowhere_says_where_it_was_sought() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_skill("digest", NONE, [("app", NONE)])
    assert caught.value.hint == (
        "looked for skills/digest/SKILL.md, digest/SKILL.md, "
        "app:.claude/skills/digest/SKILL.md, app:.agents/skills/digest/SKILL.md"
    )
