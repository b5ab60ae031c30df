from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tickover.app import Tickover
from tickover.cli.doctor import ENOUGH
from tickover.core.event import AccountSeen
from tickover.sandbox.base import BackendReport, Capability, SandboxRefused
from tickover.testing.app import ScriptedTickover

Cli = Callable[..., Result]

REPORT = BackendReport(
    backend="bwrap",
    tier="sandbox",
    usable=True,
    capabilities=(Capability("empty network", True, "interfaces ['lo']"), Capability("cpu limit", False, "affinity only")),
    not_protected=("a bug in the host's kernel",),
    hint="a hint",
)  # fmt: skip


def test_what_is_in_force_what_is_not_and_what_it_does_not_protect_against(cli: Cli, home: Path) -> None:
    shown = cli("doctor", obj=ScriptedTickover(home, reports=[REPORT]).opening)
    assert shown.exit_code == 0
    assert (
        "sandbox bwrap (isolation: sandbox)\n"
        "  in force\n"
        "    ✔  empty network  interfaces ['lo']\n"
        "  not in force\n"
        "    ✘  cpu limit  affinity only\n"
        "  not protected against\n"
        "    !  a bug in the host's kernel\n"
        "  hint  a hint\n"
    ) in shown.stdout
    assert "not run here\n  -  isolation: container, which" in shown.stdout
    assert "  ✔  git" in shown.stdout
    assert shown.stdout.endswith("\n✔ runs can be made here\n")


def test_as_json(cli: Cli, home: Path) -> None:
    told = json.loads(cli("doctor", "--json", obj=ScriptedTickover(home, reports=[REPORT]).opening).stdout)
    assert told["usable"] is True
    assert told["sandboxes"][0]["capabilities"][1] == {
        "name": "cpu limit",
        "in_force": False,
        "detail": "affinity only",
    }
    assert [part["name"] for part in told["parts"]] == ["git", "disk", "python inside", "store"]


async def refused(home: Path | None = None, *, sandbox: bool = True) -> Tickover:
    raise SandboxRefused("sandbox.none", f"no user namespaces ({home}, {sandbox})", hint="sysctl something=1")


def test_without_a_sandbox_it_says_why_and_what_to_do(cli: Cli) -> None:
    shown = cli("doctor", obj=refused)
    assert shown.exit_code == 1
    assert "sandbox: none can be started\nerror: no user namespaces" in shown.stdout
    assert "  hint  sysctl something=1\n" in shown.stdout
    assert shown.stdout.endswith("✘ no runs can be made here\n")
    told = json.loads(cli("doctor", "--json", obj=refused).stdout)
    assert (told["usable"], told["error"]["code"]) == (False, "sandbox.none")


@pytest.mark.parametrize(("path", "name"), [("", "git")])
def test_a_missing_program_is_named(cli: Cli, home: Path, path: str, name: str) -> None:
    shown = cli("doctor", obj=ScriptedTickover(home, reports=[REPORT]).opening, env={"PATH": path})
    assert shown.exit_code == 1
    assert f"  ✘  {name}  " in shown.stdout


def test_enough_disk_is_more_than_nothing() -> None:
    assert ENOUGH > 1 << 30


def test_as_whom_connectors_act(cli: Cli, home: Path) -> None:
    tickover = ScriptedTickover(home, reports=[REPORT])
    tickover.acting = [
        AccountSeen(place="slack", credential="bot", account="digest (U1) in Example"),
        AccountSeen(place="github", credential="pat", problem="it answers 401: the credential is not accepted"),
    ]
    shown = cli("doctor", obj=tickover.opening).stdout
    assert "accounts\n  ✔  slack: digest (U1) in Example, by the credential bot\n" in shown
    assert "  ✘  github: nobody knows whom, by the credential pat: it answers 401" in shown
    told = json.loads(cli("doctor", "--json", obj=tickover.opening).stdout)
    assert [each["account"] for each in told["acts_as"]] == ["digest (U1) in Example", ""]
