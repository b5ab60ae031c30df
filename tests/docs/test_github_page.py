"""The page on GitHub and other git hosts: its examples are read as what they say."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tickover.core.definition import Routine
from tickover.core.github_desk import GitHubSettings
from tickover.core.instance import egress_of, verifier_egress_of
from tickover.gateway.presets import presets
from tickover.routines.instance import read_instance
from tickover.routines.loader import load_folder

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/github.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(each) for each in re.findall(r"^ *```yaml\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)]


def block(begins: str) -> str:
    [found] = [each for each in BLOCKS if each.startswith(begins) and (begins != "credentials" or "gitlab" in each)]
    return found


def test_every_instance_example_is_one() -> None:
    instances = [each for each in BLOCKS if not each.startswith("name:")]
    assert len(instances) == 3
    for each in instances:
        read_instance(each.encode(), Path("tickover.yaml"))
    github = read_instance(block("github:").encode(), Path("tickover.yaml")).github
    assert github == GitHubSettings(credential="github", webhook_secret="github-app-hook")


@pytest.mark.parametrize(
    ("host", "name", "user"),
    [("gitlab.com", "gitlab", "oauth2"), ("bitbucket.org", "bitbucket", "x-token-auth"), ("git.corp.example.com", "gitea", "tickover-bot")],
)  # fmt: skip
def test_another_host_is_cloned_and_pushed_to_with_its_token(tmp_path: Path, host: str, name: str, user: str) -> None:
    text = block("name:").replace("gitlab.com", host).replace("credential: gitlab", f"credential: {name}")
    folder = tmp_path / "tidy"
    folder.mkdir()
    (folder / "ROUTINE.md").write_text(f"---\n{text}---\nTidy up.\n", encoding="utf-8")
    routine: Routine = load_folder(str(folder)).routine
    instance = read_instance(block("credentials").encode(), Path("tickover.yaml"))
    for egress in (egress_of(routine, instance, presets()), verifier_egress_of(routine, instance, presets())):
        form = egress.forms[name]
        assert (form.kind, form.user) == ("git", user)
        assert egress.policy.credentials_for(host, 443) == (name,)
    [push] = egress_of(routine, instance, presets()).powers.pushes
    assert (push.credential, push.refs) == (name, ("tickover/*",))
