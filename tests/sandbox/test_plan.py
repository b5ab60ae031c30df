"""A plan from the unprivileged side is judged before anything happens, and its step to bwrap's options is pure."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.sandbox.launcher.plan import Descriptors, Plan, PlanError, bwrap_options, fixed_folders, parse
from tickover.sandbox.launcher.skeleton import OURS

FDS = Descriptors(arguments=3, status=4, block=5, seccomp=6)


def spec(**parts: Any) -> bytes:
    data = {
        "name": "run-1",
        "argv": ["/bin/true"],
        "env": {},
        "cwd": "/",
        "uid": 1000,
        "root": {"target": "/", "lowers": ["base/host"], "upper": "root"},
        "overlays": [],
        "binds": [],
        "files": {},
        "memory": None,
        "cpus": None,
        "pids": None,
        "disk": None,
        "open_files": 64,
        "sealable": False,
        **parts,
    }
    return json.dumps(data).encode()


def options(plan: Plan) -> list[str]:
    def place(source: str, writable: bool) -> str:
        return f"{'rw' if writable else 'ro'}:{source}"

    return bwrap_options(plan, place, lambda name: (f"up:{name}", f"work:{name}"), lambda path: f"file:{path}", FDS)


def following(words: list[str], word: str, count: int) -> list[list[str]]:
    return [words[index + 1 : index + 1 + count] for index, found in enumerate(words) if found == word]


@pytest.mark.parametrize(
    "parts",
    [
        {"name": "../x"},
        {"name": "A"},
        {"name": ".hidden"},
        {"name": "x" * 101},
        {"name": 1},
        {"name": None},
        {"argv": []},
        {"argv": [""]},
        {"argv": ["a\0"]},
        {"argv": "/bin/true\0"},
        {"argv": None},
        {"env": {"A\0": "x"}},
        {"env": {"": "x"}},
        {"env": {"A=": "x"}},
        {"env": []},
        {"cwd": "x"},
        {"cwd": "/a/../b"},
        {"cwd": "//a"},
        {"uid": -1},
        {"uid": 65534},
        {"uid": "x"},
        {"memory": 5},
        {"memory": "1"},
        {"memory": True},
        {"memory": 1 << 60},
        {"cpus": 0},
        {"pids": 0},
        {"disk": 1},
        {"open_files": 3},
        {"open_files": None},
        {"root": {"target": "/", "lowers": ["../x"], "upper": "root"}},
        {"root": {"target": "/", "lowers": ["/etc"], "upper": "root"}},
        {"root": {"target": "/", "lowers": [""], "upper": "root"}},
        {"root": {"target": "/", "lowers": ["a\0"], "upper": "root"}},
        {"root": {"target": "/", "lowers": ["base"], "upper": "../x"}},
        {"root": {}},
        {"overlays": [{"target": "/w", "lowers": ["a"], "upper": "root"}]},
        {"overlays": [{"target": "/w/../x", "lowers": ["a"], "upper": None}]},
        {"binds": [{"source": "a/../../b", "target": "/x", "writable": False}]},
        {"binds": [{"source": "a", "target": "x", "writable": False}]},
        {"binds": [{"source": "a", "target": "/x"}]},
        {"files": {"/top": ""}},
        {"files": {"/tickover/../x/y": ""}},
        {"files": {"/a/b": "", "/a/b/c": ""}},
        {"files": {"/a/b": "no base64!"}},
        {"weaken": ["private_uids"]},
    ],
    ids=lambda parts: json.dumps(parts)[:40],
)
def test_a_wrong_plan_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        parse(spec(**parts), may_weaken=False)


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_no_bytes_are_taken_for_a_plan(text: bytes) -> None:
    with pytest.raises(PlanError):
        parse(text, may_weaken=True)


def test_unknown_protections_cannot_be_weakened() -> None:
    with pytest.raises(PlanError, match="unknown"):
        parse(spec(weaken=["everything"]), may_weaken=True)


def test_every_protection_stands_in_the_options_until_it_is_left_out() -> None:
    whole = options(parse(spec(), may_weaken=True))
    by_option = {
        "system_call_filter": "--seccomp",
        "empty_network": "--unshare-net",
        "private_processes": "--unshare-pid",
        "private_ipc": "--unshare-ipc",
        "no_capabilities": "--cap-drop",
        "dies_with_launcher": "--die-with-parent",
        "small_shared_memory": "--remount-ro",
    }
    for protection, option in by_option.items():
        assert option in whole
        assert option not in options(parse(spec(weaken=[protection]), may_weaken=True))
    for always in ("--unshare-user", "--new-session", "--clearenv", "--unshare-uts"):
        assert always in whole
    assert following(whole, "--cap-drop", 1) == [["ALL"]]
    assert "--share-net" not in whole
    assert "/etc" not in [source for source, _ in following(whole, "--ro-bind", 2)]


def test_the_root_lies_below_the_host_s_programs_which_lie_below_all_else() -> None:
    plan = parse(
        spec(
            root={"target": "/", "lowers": ["base", "layers/a"], "upper": "root"},
            overlays=[{"target": "/workspace", "lowers": ["checkouts/x"], "upper": "workspace"}],
            binds=[{"source": "layers/b", "target": "/opt/b", "writable": True}],
            files={"/tickover/a": base64.b64encode(b"1").decode(), "/home/agent/x": ""},
            env={"A": "b"},
        ),
        may_weaken=False,
    )
    words = options(plan)
    order = [
        words.index(word)
        for word in (
            "ro:base",
            "ro:layers/a",
            "up:root",
            "/usr",
            "/proc",
            "ro:checkouts/x",
            "up:workspace",
            "rw:layers/b",
        )
    ]
    assert order == sorted(order)
    assert ["file:tickover", "/tickover"] in following(words, "--ro-bind", 2)
    assert ["file:home/agent/x", "/home/agent/x"] in following(words, "--ro-bind", 2)
    assert following(words, "--setenv", 2) == [["A", "b"]]
    assert words[-4:] == ["--json-status-fd", "4", "--block-fd", "5"]


def test_our_folder_is_not_shown_whole_where_something_else_lies_in_it() -> None:
    overlay = {"target": "/subject", "lowers": ["a"], "upper": None}
    plan = parse(spec(overlays=[overlay], files={"/subject/f": "", "/check/t": ""}), may_weaken=False)
    assert plan.file_binds() == [("check", "/check"), ("subject/f", "/subject/f")]


def test_a_read_only_overlay_of_one_folder_is_a_bind() -> None:
    overlays = [
        {"target": "/one", "lowers": ["a"], "upper": None},
        {"target": "/two", "lowers": ["a", "b"], "upper": None},
    ]
    words = options(parse(spec(overlays=overlays), may_weaken=False))
    assert ["ro:a", "/one"] in following(words, "--ro-bind", 2)
    assert following(words, "--ro-overlay", 1) == [["/two"]]


def test_every_step_of_a_target_is_looked_at_in_every_lower() -> None:
    plan = parse(
        spec(
            root={"target": "/", "lowers": ["base", "layer"], "upper": "root"},
            overlays=[{"target": "/w", "lowers": ["ground"], "upper": "w"}],
            binds=[{"source": "b", "target": "/w/x/y", "writable": False}],
        ),
        may_weaken=False,
    )
    assert set(plan.ways()) == {
        "base/w", "layer/w", "base/w/x", "layer/w/x", "base/w/x/y", "layer/w/x/y", "ground/x", "ground/x/y",
    }  # fmt: skip


def test_what_is_mounted_on_must_stay_a_folder() -> None:
    assert {"usr", "home", "home/agent", "etc", "workspace", "check", "tmp"} <= fixed_folders()
    assert "" not in fixed_folders()
    assert set(OURS) <= fixed_folders()
