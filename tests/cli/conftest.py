from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tickover.cli import main

Cli = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def cli(home: Path) -> Cli:
    """Call the command line, by default over an empty data folder of its own."""

    def call(*args: str, obj: Any = None, **more: Any) -> Result:
        return CliRunner(env={"TICKOVER_HOME": str(home)}).invoke(main, args, obj=obj, prog_name="tickover", **more)

    return call
