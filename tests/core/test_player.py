"""The matcher of replays: whatever was recorded finds itself again, and whatever else is asked is told of."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tickover.core.cassette import Take, digest
from tickover.core.player import DriftKind, Found, Player, turn_of

HOST, PORT = "api.example.com", 443
MESSAGES = "/v1/messages"


def take(path: str = "/post", body: bytes = b"", answer: bytes = b"", method: str = "POST", **more: Any) -> Take:
    return Take(
        method=method, scheme="https", host=HOST, port=PORT, path=path, body=body, body_sha256=digest(body), status=200,
        answer=answer, whole=True, **more,
    )  # fmt: skip


def ask(player: Player, like: Take) -> Found:
    return player.find(like.method, like.scheme, like.host, like.port, like.path, like.query, like.body)


def said(first: str, turns: int, *, tail: str = "", id_: str = "1") -> bytes:
    """A request to a model after so many turns of its own."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": first}]
    for number in range(turns):
        messages += [
            {"role": "assistant", "content": [{"type": "tool_use", "id": f"toolu_{id_}{number:08}", "name": "Bash"}]},
            {"role": "user", "content": [{"type": "tool_result", "content": f"result {number}{tail}"}]},
        ]
    return json.dumps({"model": "m", "messages": messages, "metadata": {"user_id": id_}}).encode()


def kinds(found: Found) -> list[DriftKind]:
    return [each.kind for each in found.drift]


PATHS = st.sampled_from(["/a", "/b", "/c"])
TAKES = st.lists(st.tuples(PATHS, st.sampled_from(["GET", "POST"]), st.binary(max_size=3)), max_size=8)


@given(TAKES)
def test_a_recording_asked_in_its_own_order_has_no_drift_and_every_answer_once(recorded: list[Any]) -> None:
    takes = [take(path, body, str(number).encode(), method) for number, (path, method, body) in enumerate(recorded)]
    player = Player(takes)
    found = [ask(player, each) for each in takes]
    assert [each.drift for each in found] == [()] * len(takes)
    assert [each.take for each in found] == takes
    assert player.unasked() == []


@given(TAKES, st.randoms(use_true_random=False))
def test_whatever_the_order_each_take_answers_what_says_the_same(recorded: list[Any], shuffle: Any) -> None:
    takes = [take(path, body, method=method) for path, method, body in recorded]
    player = Player(takes)
    shuffled = list(takes)
    shuffle.shuffle(shuffled)
    for each in shuffled:
        found = ask(player, each)
        assert found.take is not None
        assert (found.take.target, found.take.body, found.drift) == (each.target, each.body, ())
    assert player.unasked() == []


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 3))
def test_conversations_side_by_side_find_their_own_turns(order: list[int], conversations: int) -> None:
    """Each conversation goes on in its own order, with ids of its own, interleaved with the others in any way."""
    takes = [
        take(MESSAGES, said(f"task {who}", turn), f"{who}/{turn}".encode())
        for who in range(conversations)
        for turn in range(4)
    ]
    player = Player(takes)
    turns = dict.fromkeys(range(conversations), 0)
    for choice in order:
        who = choice % conversations
        if turns[who] == 4:
            continue
        found = ask(player, take(MESSAGES, said(f"task {who}", turns[who], id_="9")))
        assert found.take is not None
        assert (found.take.answer.decode(), found.drift) == (f"{who}/{turns[who]}", ())
        turns[who] += 1
    assert len(player.unasked()) == len(takes) - sum(turns.values())


def test_a_retry_finds_what_the_retry_got() -> None:
    failed, worked = take(MESSAGES, said("task", 1), b"busy"), take(MESSAGES, said("task", 1), b"yes")
    player = Player([failed, worked])
    assert [ask(player, failed).take, ask(player, failed).take] == [failed, worked]
    again = ask(player, failed)
    assert (again.take, kinds(again)) == (worked, [DriftKind.REPEATED])


def test_what_a_tool_said_otherwise_is_drift_with_its_place() -> None:
    player = Player([take(MESSAGES, said("task", 2, tail=" of the old one"))])
    found = ask(player, take(MESSAGES, said("task", 2, tail=" of a new one")))
    assert found.take is not None
    [drift] = found.drift
    assert (drift.kind, drift.where) == (DriftKind.DIFFERS, "turn 2, messages[2].content[0].content")
    assert "the old one" in drift.then
    assert "a new one" in drift.now


def test_another_first_message_takes_the_first_conversation_that_nobody_has_and_says_so() -> None:
    player = Player([take(MESSAGES, said("one", 0)), take(MESSAGES, said("two", 0), b"second")])
    assert ask(player, take(MESSAGES, said("one", 0))).drift == ()
    found = ask(player, take(MESSAGES, said("three", 0)))
    assert found.take is not None
    assert (found.take.answer, kinds(found)) == (b"second", [DriftKind.DIFFERS])
    nobody = ask(player, take(MESSAGES, said("four", 0)))
    assert (nobody.take, kinds(nobody)) == (None, [DriftKind.UNKNOWN])


def test_a_turn_that_was_never_reached_has_no_answer() -> None:
    found = ask(Player([take(MESSAGES, said("task", 0))]), take(MESSAGES, said("task", 1)))
    assert (found.take, kinds(found), found.drift[0].where) == (None, [DriftKind.UNKNOWN], "turn 1")


def test_another_query_of_the_same_address_is_drift() -> None:
    player = Player([take("/list", method="GET", query="page=1")])
    found = ask(player, take("/list", method="GET", query="page=2"))
    assert found.take is not None
    assert [(each.kind, each.where, each.then, each.now) for each in found.drift] == [
        (DriftKind.DIFFERS, "query", "page=1", "page=2")
    ]


def test_what_was_too_long_to_be_recorded_is_not_answered() -> None:
    found = ask(Player([take("/big", left_out="it was longer")]), take("/big", b"whatever"))
    assert (found.take, kinds(found)) == (None, [DriftKind.UNREAD])


def test_turns_are_counted_in_every_dialect() -> None:
    chat = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant"}, {"role": "assistant"}]}
    responses = {"input": [{"role": "user", "content": "x"}, {"type": "reasoning"}, {"type": "function_call"}]}
    gemini = {"contents": [{"role": "user", "parts": "x"}, {"role": "model"}, {"role": "user"}, {"role": "model"}]}
    asked = {"/v1/chat/completions": (chat, 1), "/v1/responses": (responses, 1), "/v1/m:generateContent": (gemini, 2)}
    for path, (body, turns) in asked.items():
        turn = turn_of("POST", path, json.dumps(body).encode())
        assert turn is not None
        assert (turn.root, turn.number) == ("x", turns)
    assert turn_of("GET", MESSAGES, b"{}") is None
    assert turn_of("POST", "/a/../b", b"{}") is None
    assert turn_of("POST", MESSAGES, b"not json") is None
