"""A recorded run once more, offline: the recording answers, nothing is dialled, and nothing of it counts for the world."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tickover.core.cassette import Cassette, read_cassette
from tickover.core.comparison import Comparison, Likeness
from tickover.core.errors import NotFoundError, UsageError
from tickover.core.event import JournalEvent
from tickover.core.run import fold
from tickover.testing.localhost import configure, serving, url
from tickover.testing.oauth import TokenEndpoint
from tickover.testing.upstream import Seen, Talk, Upstream

if TYPE_CHECKING:
    from tests.e2e.conftest import Bench

TOKEN = b"xoxb-the-token-nobody-may-record-4711"
SCRIPT = """\
curl -q -sS -H "x-run: $TICKOVER_RUN" URL/words?page=1 | tee words.txt
curl -q -sS -H 'content-type: application/json' -d "{\\"run\\": \\"$TICKOVER_RUN\\", \\"text\\": \\"TEXT\\"}" URL/post
date > out.txt
echo " done"
"""


class Site:
    """A double that counts what it is asked, says its token again, and answers each time something else."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, seen: Seen, talk: Talk) -> None:
        self.seen.append(f"{seen.method} {seen.target}")
        said = json.dumps({"ok": True, "number": len(self.seen), "you": seen.header("authorization")})
        cookies = (("content-type", "application/json"), ("set-cookie", "session=a-cookie-that-stands-for-it"))
        await talk.answer(said.encode(), headers=cookies)


def routine(bench: Bench, double: Upstream, text: str = "hello", **front: Any) -> Path:
    may = [{"request": {"to": f"POST {url(double)}/post", "credential": "site"}}]
    front = {"may": may, "environment": {"credentials": ["site"]}, **front}
    folder = bench.routine(SCRIPT.replace("URL", url(double)).replace("TEXT", text), **front)
    bench.tickover.grant(folder, by="owner")
    return folder


def receipt(double: Upstream) -> dict[str, Any]:
    request, response = {"json": {"text": "hello"}}, {"json": {"ok": True}}
    return {"receipt": {"to": f"POST {url(double)}/post", "request": request, "response": response}}


def set_up(bench: Bench, double: Upstream) -> None:
    configure(bench.tickover.home, [double])
    file = bench.tickover.home / "tickover.yaml"
    told = json.loads(file.read_text())
    told["credentials"] = {"site": {"hosts": [f"localhost:{double.port}"], "kind": "header"}}
    file.write_text(json.dumps(told))
    bench.tickover.secrets.set("site", TOKEN, by="owner")


async def replay(bench: Bench, run: str, **more: Any) -> tuple[Comparison, list[JournalEvent]]:
    events: list[JournalEvent] = []
    compared = await bench.tickover.replay(run, observe=events.append, **more)
    assert fold(events) == compared.now
    return compared, events


def cassette(bench: Bench, digest: str) -> tuple[bytes, Cassette]:
    data = bench.tickover.blob(digest)
    return data, read_cassette(data)


def transcript(events: Sequence[JournalEvent]) -> list[str]:
    """Return what the agent wrote as one text, and what it did; the pieces of a stream are cut by the clock."""
    said = "".join(event.data["text"] or "" for event in events if event.type == "agent_output")
    told = {"agent_step", "agent_text", "agent_tool_call", "agent_tool_result"}
    did = [event.data for event in events if event.type in told]
    return [said, *(json.dumps({key: value for key, value in each.items() if key != "duration_s"}) for each in did)]


async def test_a_replay_says_the_same_twice_dials_nothing_and_proves_nothing(bench: Bench) -> None:
    site = Site()
    async with serving(site) as double:
        set_up(bench, double)
        folder = routine(bench, double, expect=[receipt(double)])
        row = await bench.run(folder, record=True)
        recorded = transcript(bench.events)
        assert (row.outcome, row.execution) == ("verified", "completed"), row.reason
        assert site.seen == ["GET /words?page=1", "POST /post"]
    assert row.cassette is not None
    data, kept = cassette(bench, row.cassette.digest)
    assert [each.method for each in kept.takes] == ["GET", "POST"]
    assert TOKEN not in data
    assert b"a-cookie-that-stands-for-it" not in data
    assert b'"authorization"' not in data.lower()
    bench.tickover.secrets.remove("site")  # no replay needs it
    first, one = await replay(bench, row.id)
    second, two = await replay(bench, row.id)
    assert len(site.seen) == 2
    assert transcript(one) == transcript(two) == recorded
    for each in (first, second):
        assert each.now.replay_of == row.id
        assert each.now.drift == 0, each.now.drifts
        assert each.as_recorded
        assert each.exit_code == 0
        assert each.now.outcome == "unverified"
        assert {check.evidence_class for check in each.now.evidence} == {"claim"}
        assert [(check.then, check.now, check.likeness) for check in each.checks] == [("pass", "pass", Likeness.SAME)]
        assert each.now.usage.calls == 0
    ended = [event.data["record"] for event in one if event.type == "receipt_ended"]
    assert {each["why"] for each in ended} == {"answered from a recording: nothing left"}


async def test_no_token_is_asked_for_in_a_replay(bench: Bench) -> None:
    endpoint = TokenEndpoint()
    async with serving(endpoint.resource) as double, serving(endpoint.handler) as auth:
        configure(bench.tickover.home, [double, auth])
        file = bench.tickover.home / "tickover.yaml"
        oauth = {"grant": "client-credentials", "token_url": f"{url(auth)}/token", "client_id": endpoint.client}
        known = {"site": {"kind": "oauth", "hosts": [f"localhost:{double.port}"], "oauth": oauth}}
        file.write_text(json.dumps({**json.loads(file.read_text()), "credentials": known}))
        bench.tickover.secrets.set("site", endpoint.secret.encode(), by="owner")
        row = await bench.run(routine(bench, double), record=True)
        recorded = transcript(bench.events)
        assert (len(endpoint.asked), len(double.seen)) == (1, 2), bench.said()
        assert row.cassette is not None
        assert b"token-1" not in cassette(bench, row.cassette.digest)[0]
        bench.tickover.secrets.remove("site")
        compared, events = await replay(bench, row.id)
        assert (len(endpoint.asked), len(double.seen)) == (1, 2)
    assert transcript(events) == recorded
    assert compared.as_recorded, compared.now.drifts


async def test_what_is_asked_otherwise_is_drift_and_what_nobody_recorded_is_refused(bench: Bench) -> None:
    site = Site()
    async with serving(site) as double:
        set_up(bench, double)
        row = await bench.run(routine(bench, double), record=True)
        assert row.cassette is not None
        _, kept = cassette(bench, row.cassette.digest)
        changed = kept.takes[1].model_copy(update={"body": b'{"text": "hullo"}', "body_sha256": "0"})
        lines = [kept.header, kept.takes[0].model_copy(update={"path": "/gone"}), changed]
        digest = bench.tickover.blobs.put(b"".join(each.model_dump_json().encode() + b"\n" for each in lines))
        compared, events = await replay_of(bench, row.id, digest)
    kinds = [drift.kind for drift in compared.now.drifts]
    assert kinds == ["unknown", "differs", "unasked"]
    assert [drift.where for drift in compared.now.drifts][1] == "text"
    assert (compared.now.drifts[1].then, compared.now.drifts[1].now) == ("hullo", "hello")
    assert compared.exit_code == 5
    assert "replay_unknown" in "".join(transcript(events))
    assert len(site.seen) == 2


async def replay_of(bench: Bench, run: str, digest: str) -> tuple[Comparison, list[JournalEvent]]:
    """Replay from another cassette than the run's own."""
    from tickover.control.playback import replay as replayed

    row = bench.tickover.run_row(run)
    assert row.cassette is not None
    row = row.model_copy(update={"cassette": row.cassette.model_copy(update={"digest": digest})})
    events: list[JournalEvent] = []
    registry = bench.tickover.registry
    compared = await replayed(
        bench.tickover._house(),
        row,
        lambda name, version: (registry.loaded(name, version), str(registry.folder(name, version))),
        random=lambda size: "ab" * size,
        observe=events.append,
    )
    return compared, events


async def test_what_went_through_a_tunnel_cannot_be_replayed_and_is_told(bench: Bench) -> None:
    async with serving() as double:
        configure(bench.tickover.home, [double])
        script = f"curl -q -sS -o /dev/null -w '%{{http_code}}' {url(double)}/words || true"
        folder = bench.routine(script, environment={"network": [f"localhost:{double.port}"]})
        row = await bench.run(folder, record=True)
        assert bench.said() == "200"
        asked = len(double.seen)
        assert row.cassette is not None
        _, kept = cassette(bench, row.cassette.digest)
        assert (kept.takes, kept.header.unread) == ((), (f"localhost:{double.port}",))
        compared, events = await replay(bench, row.id)
        assert len(double.seen) == asked
    assert "200" not in transcript(events)[0]
    assert {drift.kind for drift in compared.now.drifts} == {"unread"}
    assert compared.exit_code == 5


async def test_a_check_of_the_world_is_not_asked_and_a_failing_one_still_fails(bench: Bench) -> None:
    async with serving() as double:
        page = {"http": {"url": f"http://127.0.0.1:{double.port}/", "status": 200}}
        done = {"command": {"run": "test -f /subject/done.txt"}}
        row = await bench.run(bench.routine("echo x > done.txt", expect=[done, page]), record=True)
        seen = len(double.seen)
        compared, _ = await replay(bench, row.id)
        assert len(double.seen) == seen
    command, http = compared.checks
    assert (command.then, command.now, command.likeness) == ("pass", "pass", Likeness.SAME)
    assert (http.now, http.likeness) == ("error", Likeness.NOT_ASKED)
    assert compared.now.outcome == "unverified"


async def test_a_replay_runs_the_routine_as_it_was_and_only_what_was_recorded(bench: Bench) -> None:
    folder = bench.routine("cat in.txt; echo $TICKOVER_RUN", repositories={"app": {"url": "."}})
    repository = bench.repository({"in.txt": "first\n"})
    row = await bench.run(folder, repositories={"app": repository.url}, record=True)
    repository.commit({"in.txt": "second\n"})
    bench.routine("echo changed", repositories={"app": {"url": "."}})
    compared, events = await replay(bench, row.id)
    assert transcript(events)[0] == f"first\n{row.id}\n"
    assert (compared.now.version, compared.now.subject) == (row.version, row.subject)
    assert compared.as_recorded
    with pytest.raises(UsageError) as another:
        await bench.tickover.replay(row.id, build="codex@1.0.0")
    assert another.value.code == "replay.build"
    with pytest.raises(NotFoundError) as nothing:
        await bench.tickover.replay(compared.now.id)
    assert nothing.value.code == "cassette.not_found"
