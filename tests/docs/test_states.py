"""The state diagram in the docs is the one of the transition table."""

from pathlib import Path

from tickover.core.run import mermaid

PAGE = Path(__file__).parents[2] / "docs/life-of-a-run.md"


def test_diagram_is_generated() -> None:
    assert f"```mermaid\n{mermaid()}```" in PAGE.read_text()
