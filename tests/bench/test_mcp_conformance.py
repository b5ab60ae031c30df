"""The scenarios of MCP's conformance suite pass through the gateway where they pass directly."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tickover.testing.absent import absent

BENCH = Path(__file__).resolve().parents[2] / "bench/mcp_conformance.py"


def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mcp_conformance", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mcp_conformance"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_scenario_that_passes_in_one_column_only_is_a_difference() -> None:
    differences = bench().differences
    assert differences({"direct": {"ping": True, "x": False}, "gateway": {"ping": True, "x": False}}) == []
    assert differences({"direct": {"ping": True}, "gateway": {"ping": False}}) == ["ping"]
    assert differences({"direct": {"ping": False}, "gateway": {"ping": True}}) == ["ping"]
    assert differences({"direct": {"ping": True}, "gateway": {}}) == ["ping"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_the_scenarios_pass_where_they_pass_directly(tmp_path: Path) -> None:
    if shutil.which("npm", path="/usr/bin:/usr/local/bin") is None:
        absent("npm is not installed here")
    module = bench()
    columns = await module.compare(tmp_path, "fixtures")
    assert module.differences(columns) == [], module.table("fixtures", columns)
    assert sum(columns["gateway"].values()) >= 25
