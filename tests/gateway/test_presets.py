from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest

from tickover.core.host import HostPattern, canonical
from tickover.core.network import Asked, Endpoint, Preset, policy_of
from tickover.gateway.presets import PACKAGES, PresetError, presets, read_preset

GOOD = {"hosts": ["api.example.com"], "about": "An example.", "source": "https://example.com/", "as_of": "2026-01-31"}


def test_the_presets_that_ship() -> None:
    assert {"anthropic", "openai", "github", "slack", "python"} <= set(presets())
    assert PACKAGES not in presets()


@pytest.mark.parametrize("preset", presets().values(), ids=presets())
def test_a_preset_opens_exact_hosts_in_their_canonical_spelling_and_none_may_be_private(preset: Preset) -> None:
    assert re.fullmatch("[a-z0-9-]{1,64}", preset.name)
    for host in preset.hosts:
        assert Endpoint.parse(host).host == HostPattern(canonical(host))
    assert not preset.private
    policy = policy_of([Asked(preset.name, "environment.network[0]")], presets())
    decision = policy.judge(preset.hosts[0], 443)
    assert decision.allowed
    assert preset.name in decision.says
    assert not decision.private


def test_models_are_inspected_and_web_sites_are_not() -> None:
    assert {name for name, preset in presets().items() if preset.inspect} == {"anthropic", "openai", "gemini"}


def test_every_file_names_no_host_of_packages() -> None:
    folder = files("tickover.gateway") / "presets"
    for file in folder.iterdir():
        hosts = json.loads(file.read_text())["hosts"]
        assert not [host for host in hosts if re.search(r"registry|pkg|packages|mirror|index|ghcr|docker", host)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hosts": []}, "hosts"),
        ({"hosts": ["10.0.0.1"]}, "IP address"),
        ({"hosts": ["api.example.com/path"]}, "path"),
        ({"private": True}, "private"),
        ({"name": "other"}, "name"),
        ({"source": "somewhere"}, "source"),
        ({"as_of": "lately"}, "as_of"),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(change: dict[str, object], says: str) -> None:
    with pytest.raises(PresetError, match=says) as caught:
        read_preset("example", json.dumps({**GOOD, **change}))
    assert str(caught.value.where) == "presets/example.json"
    with pytest.raises(PresetError):
        read_preset("example", b"\xff{")


def test_a_right_file_is_read() -> None:
    assert read_preset("example", json.dumps(GOOD)) == Preset("example", ("api.example.com",))
    assert read_preset("example", json.dumps({**GOOD, "inspect": True})).inspect
