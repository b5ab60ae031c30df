from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tickover.core.definition import Environment
from tickover.core.tree import Tree
from tickover.routines.tree import FolderTree, MemoryTree
from tickover.routines.version import canonical, checks_of, resolve_version

RAW = b"---\nname: r\nagent: steps\n---\n"
CHECKS = MemoryTree({"a.py": b"a", "b.py": b"b"})
SKILL = MemoryTree({"SKILL.md": b"s"})


def version(**changes: Any) -> str:
    parts: dict[str, Any] = {
        "environment": Environment(),
        "skill": SKILL,
        "checks": CHECKS,
        "agent_build": "steps-1",
        **changes,
    }
    return resolve_version(parts.pop("raw", RAW), **parts)


def test_the_digest_is_frozen() -> None:
    """A change here gives every routine in the world a new version: raise FORMAT and say so in CHANGELOG.md."""
    assert version() == "b8623b27cf403ad9285cc65d47480e6cf0af233f932370ad52c8afd527f3007c"


@pytest.mark.parametrize(
    "change",
    [
        {"raw": RAW + b"\n"},
        {"environment": Environment(base="other")},
        {"skill": None},
        {"skill": MemoryTree({"SKILL.md": b"s", "x": b""})},
        {"checks": MemoryTree({"a.py": b"a", "b.py": b"B"})},
        {"checks": MemoryTree({"a.py": b"a", "c.py": b"b"})},
        {"checks": MemoryTree({"a.py": b"ab", "b.py": b""})},
        {"checks": None},
        {"agent_build": "steps-2"},
    ],
)
def test_whatever_decides_what_a_run_does_changes_it(change: dict[str, Any]) -> None:
    assert version(**change) != version()


def test_defaults_written_out_in_an_environment_change_nothing() -> None:
    assert version(environment=Environment.model_validate({"base": "host", "network": "none"})) == version()


def test_the_same_files_give_the_same_version_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "b.py").write_bytes(b"b")
    (tmp_path / "checks" / "a.py").write_bytes(b"a")
    folder: Tree = FolderTree(str(tmp_path))
    assert version(checks=checks_of(folder)) == version()
    (tmp_path / "checks" / "a.py").chmod(0o755)
    executable = MemoryTree({"a.py": b"a", "b.py": b"b"}, modes={"a.py": 0o100755})
    assert version(checks=checks_of(folder)) == version(checks=executable) != version()


def test_canonical_json_is_one() -> None:
    assert canonical({"b": [1, "é"], "a": None}) == b'{"a":null,"b":[1,"\\u00e9"]}'
    with pytest.raises(ValueError, match="JSON"):
        canonical(float("nan"))
