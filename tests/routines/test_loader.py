from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.core.definition import Environment
from tickover.core.errors import DefinitionErrors, NotFoundError, TickoverError
from tickover.routines.loader import Loaded, dotted, load, load_folder, parse_routine
from tickover.routines.tree import MemoryTree

DATA = Path(__file__).parent / "data" / "routines"
EVERY_KEY = (DATA / "every-key" / "ROUTINE.md").read_bytes()


def routine(front: str, body: str = "Do it.\n") -> Loaded:
    return parse_routine(f"---\nname: r\n{front}---\n{body}".encode())


def refused(front: str, body: str = "") -> list[tuple[str, str | None, int | None]]:
    with pytest.raises(DefinitionErrors) as caught:
        routine(front, body)
    places = [(each.code, each.where) for each in caught.value.problems]
    return [(code, where.key if where else None, where.line if where else None) for code, where in places]


def test_the_example_of_the_product_page_loads() -> None:
    loaded = load_folder(str(DATA / "weekly-digest"))
    routine = loaded.routine
    assert (routine.name, routine.agent_name, routine.agent_version) == ("weekly-digest", "claude-code", "2.1.197")
    assert routine.environment.setup.files == ("requirements.txt",)
    assert [trigger.kind for trigger in routine.on] == ["schedule", "github", "stripe", "webhook", "api"]
    assert [permission.kind for permission in routine.may] == ["push", "slack", "request"]
    assert [check.kind for check in routine.expect] == ["receipt", "slack", "command", "http"]
    assert (routine.limits.timeout, routine.limits.memory, routine.limits.tokens) == (1200, 2 << 30, 400_000)
    assert routine.body == "You are the release reporter. ...\n"
    assert routine.body_line == loaded.raw.count(b"\n", 0, loaded.raw.index(b"You are")) + 1


def test_every_key_of_the_grammar_loads_and_survives_a_dump() -> None:
    loaded = load_folder(str(DATA / "every-key"))
    given = loaded.routine.model_fields_set
    assert set(type(loaded.routine).model_fields) - given == {"argv", "remote", "body_line"}
    dump = loaded.routine.model_dump(mode="json", by_alias=True)
    assert type(loaded.routine).model_validate(dump) == loaded.routine


def test_all_problems_come_at_once_in_the_order_of_lines() -> None:
    assert refused(
        "agnet: steps\nlimits: {timeout: 5}\nisolation: box\nexpect:\n- file: {path: /etc/passwd}\n- {}\ntask:\n"
    ) == [
        ("definition.missing_key", "agent", 2),
        ("definition.unknown_key", "agnet", 3),
        ("definition.measure", "limits.timeout", 4),
        ("definition.value", "isolation", 5),
        ("definition.value", "expect[0].file.path", 7),
        ("definition.one_kind", "expect[1]", 8),
        ("definition.empty", "task", 9),
    ]


@pytest.mark.parametrize(
    ("front", "key", "hint"),
    [
        ("agnet: steps\nagent: steps\n", "agnet", "did you mean `agent`?"),
        ("agent: stepz\n", "agent", "did you mean `steps`?"),
        ("agent: steps\nlimits: {memroy: 1GiB}\n", "limits.memroy", "did you mean `memory`?"),
        ("agent: steps\nexpect: [{fil: {path: a}}]\n", "expect[0].fil", "did you mean `file`?"),
        ("agent: steps\nexpect: [{file: {paht: a, path: b}}]\n", "expect[0].file.paht", "did you mean `path`?"),
        ("agent: steps\nenvironment: {setup: {rnu: a}}\n", "environment.setup.rnu", "did you mean `run`?"),
        ("agent: steps\nisolation: sandbx\n", "isolation", "did you mean `sandbox`?"),
        ("agent: steps\ndescription: 5\n", "description", "put it in quotes"),
        ("agent: steps\nnetwork: [a.test]\n", "network", "`network` stands inside `environment`"),
        ("agent: steps\ntimeout: 5s\n", "timeout", "`timeout` stands inside `limits`"),
        ("agent: steps\nexpect: [{run: x}]\n", "expect[0].run", "`run` stands inside `command`"),
        (
            "agent: steps\nlimits: {artifacts: [a]}\n",
            "limits.artifacts",
            "`artifacts` stands at the top, without indent",
        ),
        (
            "agent: steps\non:\n- webhook:\n    secret: s\n    verify: {token: {header: x-token}, secret: s}\n",
            "on[0].webhook.secret",
            "`secret` stands inside `verify`",
        ),
        (
            "agent: steps\nexpect: [{command: x}]\n",
            "expect[0].command",
            "its keys: guard, run, stop_gate, subject, timeout",
        ),
        ("agent: steps\nrepositories: {a: x}\n", "repositories.a", "its keys: credential, ref, trusted_ref, url"),
        ("agent: steps\nexpect: {file: {path: a}}\n", "expect", "begin each item with `- `, or put [ ] around"),
    ],
)
def test_the_nearest_right_word_is_named(front: str, key: str, hint: str) -> None:
    with pytest.raises(DefinitionErrors) as caught:
        routine(front)
    [problem] = caught.value.problems
    assert problem.where is not None
    assert (problem.where.key, problem.hint) == (key, hint)


def test_a_matcher_s_error_points_at_the_operator() -> None:
    front = "agent: steps\nexpect:\n- http:\n    url: https://a.test/\n    json:\n      a.b:\n        glbo: x\n"
    assert refused(front) == [("definition.matcher", "expect[0].http.json.a.b.glbo", 9)]


@pytest.mark.parametrize(
    ("front", "code", "key"),
    [
        ("agent: command\n", "definition.argv", "agent"),
        ("agent: acp\n", "definition.argv", "agent"),
        ("agent: steps\nargv: [a]\n", "definition.argv", "argv"),
        ("agent: remote\n", "definition.remote", "agent"),
        ("agent: remote\nremote: {to: http}\n", "definition.remote", "remote"),
        ("agent: steps\nmodel: {name: a, url: 'https://a.test', wire: openai}\n", "definition.model", "model"),
        ("agent: steps\nsystem_prompt: replace\n", "definition.system_prompt", "system_prompt"),
        ("agent: steps\ninputs: {a: {type: integer, default: x}}\n", "definition.default", "inputs.a.default"),
        ("agent: steps\ninputs: {a: {type: integer, default: true}}\n", "definition.default", "inputs.a.default"),
        ("agent: steps\nstate: true\nlimits: {concurrent: 2}\n", "definition.state", "state"),
        (
            "agent: steps\nconnectors: {s: {tools: [a], required: [b]}}\n",
            "definition.required",
            "connectors.s.required",
        ),
        ("agent: steps\nmay: [{slack: {tool: a}}]\n", "definition.unknown_connector", "may[0].slack"),
        ("agent: steps\nmay: [{push: {repo: a, refs: [b]}}]\n", "definition.unknown_repository", "may[0].push.repo"),
        ("agent: steps\napprove: [{request: {to: 'POST https://a.test/'}}]\n", "definition.approve", "approve[0]"),
        ("agent: steps\nnoop: [{file: {path: a, guard: true}}]\n", "definition.guard", "noop[0].file.guard"),
        ("agent: steps\nexpect: [{git: {repo: a, ref: b}}]\n", "definition.unknown_repository", "expect[0].git.repo"),
        ("agent: steps\nonly_if: {run: 'a {{ artifacts.x }}'}\n", "template.unknown", "only_if.run"),
        ("agent: steps\nonly_if: {run: 'a {{ inputs.x }}'}\n", "template.input", "only_if.run"),
        ("agent: steps\nexpect: [{command: {run: '{{ state.file }}'}}]\n", "template.unknown", "expect[0].command.run"),
        ("agent: steps\nexpect: [{command: {run: 'a {{ b'}}]\n", "template.open", "expect[0].command.run"),
        (
            "agent: steps\nexpect: [{http: {url: 'https://a.test/', json: {a: {matches: '{{ event.id }}'}}}}]\n",
            "template.pattern",
            "expect[0].http.json.a.matches",
        ),
        (
            "agent: steps\nenvironment: {setup: {run: a, files: ['x:y']}}\n",
            "definition.setup_file",
            "environment.setup.files[0]",
        ),
        ("agent: steps\nenvironment: {setup: {files: [y]}}\n", "definition.setup", "environment.setup"),
        (
            "agent: steps\non: [{stripe: {secret: s, input: {jsonata: x, b: y}}}]\n",
            "definition.input",
            "on[0].stripe.input",
        ),
        (
            "agent: steps\non: [{webhook: {verify: {token: {header: a}, secret: s, ts: 'header:b'}}}]\n",
            "definition.verify",
            "on[0].webhook.verify",
        ),
        (
            "agent: steps\non: [{webhook: {verify: {sig: {header: a}, signed: '{kv:t}', secret: s}}}]\n",
            "definition.verify",
            "on[0].webhook.verify",
        ),
    ],
)
def test_rules_that_bind_several_keys(front: str, code: str, key: str) -> None:
    body = "" if "command\n" in front else "Do it."
    assert [(found, at) for found, at, _ in refused(front, body)] == [(code, key)]


REPO = "agent: steps\nrepositories: {a: {url: 'https://x.test/a'}}\n"


@pytest.mark.parametrize(
    ("front", "code", "key"),
    [
        ("expect: [{git: {repo: a, in: subject, ref: m, within: 1m}}]\n", "definition.within", "expect[0].git.within"),
        ("expect: [{git: {repo: a, range: m}}]\n", "definition.git", "expect[0].git"),
        ("expect: [{git: {repo: a, ref: --upload-pack=x}}]\n", "definition.ref", "expect[0].git"),
        (
            "expect: [{command: {run: x, subject: {restore: [a]}}}]\n",
            "definition.restore",
            "expect[0].command.subject.restore",
        ),
    ],
)
def test_rules_about_a_repository_in_checks(front: str, code: str, key: str) -> None:
    assert [(found, at) for found, at, _ in refused(REPO + front)] == [(code, key)]


def test_restore_needs_one_repository() -> None:
    front = "agent: steps\nexpect: [{command: {run: x, subject: {run: true, restore: [a]}}}]\n"
    assert [code for code, _, _ in refused(front)] == ["definition.restore"]


@pytest.mark.parametrize(
    "url",
    [
        "https://user:word@x.test/a",
        "https://token@x.test/a",
        "http://x.test/a",
        "git@x.test:a/b.git",
        "ssh://x.test/a",
        "file://host/a",
        "/srv/a",
        "https://x.test",
        "https://x.test/a b",
        "ext::sh -c id",
        "--upload-pack=x",
    ],
)
def test_addresses_of_repositories_that_are_refused(url: str) -> None:
    front = f"agent: steps\nrepositories: {{a: {{url: '{url}'}}}}\n"
    assert refused(front) == [("definition.value", "repositories.a.url", 4)]


@pytest.mark.parametrize(
    ("key", "ref", "code"),
    [
        ("ref", "-x", "definition.ref"),
        ("ref", "a..b", "definition.ref"),
        ("ref", "a b", "definition.ref"),
        ("ref", "a.lock", "definition.ref"),
        ("ref", "a@{1}", "definition.ref"),
        ("ref", "refs/heads/", "definition.ref"),
        ("ref", "{{ inputs.x }}", "template.unknown"),
        ("trusted_ref", "{{ event.sha }}", "definition.trusted_ref"),
    ],
)
def test_refs_that_are_refused(key: str, ref: str, code: str) -> None:
    front = f"agent: steps\nrepositories: {{a: {{url: 'https://x.test/a', {key}: '{ref}'}}}}\n"
    assert (code, f"repositories.a.{key}", 4) in refused(front)


def test_command_has_no_body() -> None:
    assert refused("agent: command\nargv: [x]\n", "prompt") == [("definition.body", "agent", 3)]
    assert routine("agent: command\nargv: [x]\n", "\n \n").routine.argv == ("x",)


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("name: a\n", "definition.no_front_matter", 1),
        ("", "definition.no_front_matter", 1),
        ("---\nname: a\n", "definition.open_front_matter", 3),
        ("---\n- a\n---\n", "definition.no_map", 2),
        ("---\n---\n", "definition.no_map", 2),
        ("---\na: [\n---\n", "yaml.syntax", 3),
    ],
)
def test_a_file_without_its_two_parts(text: str, code: str, line: int) -> None:
    with pytest.raises(DefinitionErrors) as caught:
        parse_routine(text.encode(), file="x/ROUTINE.md")
    [problem] = caught.value.problems
    assert problem.where is not None
    assert (problem.code, problem.where.file, problem.where.line) == (code, "x/ROUTINE.md", line)


def test_the_body_keeps_its_dashes() -> None:
    loaded = routine("agent: steps\n", "a\n---\nb\n")
    assert (loaded.routine.body, loaded.routine.body_line) == ("a\n---\nb\n", 5)


ENVIRONMENTS = MemoryTree(
    {"python.yaml": b"network: [packages]\n", "bad.yaml": b"base: host\nnetwrok: none\n", "empty.yaml": b""}
)


def test_a_named_environment_comes_from_its_file() -> None:
    raw = b"---\nname: r\nagent: steps\nenvironment: python\n---\n"
    assert parse_routine(raw, environments=ENVIRONMENTS).routine.environment.network == ("packages",)
    empty = parse_routine(raw.replace(b"python", b"empty"), environments=ENVIRONMENTS)
    assert empty.routine.environment == Environment()


@pytest.mark.parametrize(
    ("name", "file", "line", "hint"),
    [
        ("pyhton", "ROUTINE.md", 4, "did you mean `python`?"),
        ("bad", "environments/bad.yaml", 2, "did you mean `network`?"),
    ],
)
def test_an_environment_that_is_wrong_or_not_there(name: str, file: str, line: int, hint: str) -> None:
    raw = f"---\nname: r\nagent: steps\nenvironment: {name}\n---\n".encode()
    with pytest.raises(DefinitionErrors) as caught:
        parse_routine(raw, environments=ENVIRONMENTS)
    [problem] = caught.value.problems
    assert problem.where is not None
    assert (problem.where.file, problem.where.line, problem.hint) == (file, line, hint)


def test_the_name_is_the_folder_s_and_pinned_files_are_there() -> None:
    raw = b"---\nname: r\nagent: command\nargv: [a]\nexpect: [{output: {schema: s.json}}, {file: {path: a, same_as: b}}]\n---\n"
    with pytest.raises(DefinitionErrors) as caught:
        load(MemoryTree({"ROUTINE.md": raw, "checks/b": b""}), "other")
    assert [each.code for each in caught.value.problems] == ["definition.name", "definition.no_file"]


def loaded(front: str, *checks: str, body: str = "```sh\ntrue\n```\n") -> list[tuple[str, str]]:
    raw = f"---\nname: r\nagent: steps\n{front}---\n{body}".encode()
    try:
        load(MemoryTree({"ROUTINE.md": raw, **{f"checks/{check}": b"" for check in checks}}), "r")
    except DefinitionErrors as error:
        return [(each.code, each.hint) for each in error.problems]
    return []


@pytest.mark.parametrize(
    ("line", "hint"),
    [("python3 sum_chek.py --all", "did you mean `sum_check.py`?"), ("sh other.sh", "")],
)
def test_the_program_of_a_check_is_there_before_anything_runs(line: str, hint: str) -> None:
    assert loaded(f"expect: [{{command: {{run: {line}}}}}]\n", "sum_check.py") == [("definition.no_file", hint)]


@pytest.mark.parametrize(
    "line", ["python3 sum_check.py", "python3 -m json.tool /subject/x.py", "test -f /subject/x.py", "bash /check/x.sh"]
)
def test_only_a_program_that_a_line_begins_with_is_looked_for(line: str) -> None:
    assert loaded(f"expect: [{{command: {{run: {line}}}}}]\n", "sum_check.py") == []


def test_steps_are_read_with_the_routine() -> None:
    assert [code for code, _ in loaded("", body="```ruby\nputs 1\n```\n")] == ["blocks.none"]
    assert [code for code, _ in loaded("", body="```sh timeout=5\ntrue\n```\n")] == ["blocks.step"]
    assert loaded("skill: report\n", body="Its steps are the skill's.\n") == []


def test_an_unknown_time_zone() -> None:
    raw = (
        b"---\nname: r\nagent: steps\non: [{schedule: {every: 1h, time_zone: Europe/Berlim}}]\n---\n```sh\ntrue\n```\n"
    )
    with pytest.raises(DefinitionErrors) as caught:
        load(MemoryTree({"ROUTINE.md": raw}), "r")
    assert [each.code for each in caught.value.problems] == ["definition.time_zone"]


def test_no_routine_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_folder(str(tmp_path))


def test_a_routine_s_file_is_never_a_link_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("---\nname: r\nagent: steps\n---\n")
    (tmp_path / "r").mkdir()
    os.symlink("../secret", tmp_path / "r" / "ROUTINE.md")
    with pytest.raises(DefinitionErrors):
        load_folder(str(tmp_path / "r"))


def test_a_place_as_people_write_it() -> None:
    assert dotted(("expect", 0, "http", "url")) == "expect[0].http.url"


@settings(max_examples=120, deadline=None)
@given(st.integers(min_value=0), st.integers(min_value=1, max_value=12))
def test_mutated_definitions_load_or_say_what_is_wrong(seed: int, changes: int) -> None:
    dice = random.Random(seed)
    raw = bytearray(EVERY_KEY)
    for _ in range(changes):
        at = dice.randrange(len(raw))
        match dice.randrange(4):
            case 0:
                raw[at] = dice.randrange(256)
            case 1:
                del raw[at : at + dice.randrange(30)]
            case 2:
                raw[at:at] = dice.choice(
                    [b"- ", b"{", b"}", b"[", b"]", b": ", b"\n", b"null", b"1", b"&a ", b"'", b'"']
                )
            case _:
                end = dice.randrange(len(raw))
                raw[at:at] = raw[end : end + dice.randrange(40)]
    with contextlib.suppress(TickoverError):
        parse_routine(bytes(raw))
