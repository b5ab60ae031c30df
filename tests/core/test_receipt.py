from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickover.core.lookup import JsonPath
from tickover.core.matcher import Fields
from tickover.core.receipt import (
    Begun,
    Broken,
    Chosen,
    Delivery,
    Ended,
    Head,
    Link,
    Receipt,
    canonical_json,
    choose,
    counts_of,
    head_of,
    link,
    origin,
    receipts_of,
    verify,
)

KEY = b"k" * 32
Record = Begun | Ended


def begun(call: int = 1, **more: Any) -> Begun:
    keys = {"at": 1.5, "attempt": 1, "method": "POST", "scheme": "https", "host": "a.test", "port": 443, "path": "/x"}
    return Begun.model_validate({"call": call, "rule": "may[0]", "writes": True, **keys, **more})


def ended(call: int = 1, **more: Any) -> Ended:
    return Ended.model_validate({"call": call, "at": 2.5, "delivery": "answered", "status": 200, **more})


def chain(records: list[Record], run: str = "r1", key: bytes = KEY) -> tuple[list[Link], Head]:
    head, links = origin(run, key), []
    for record in records:
        links.append(link(record, head, key))
        head = head_of(links[-1])
    return links, head


RECORDS: list[Record] = [
    begun(1),
    ended(1),
    begun(2, credential="forge", refs=("refs/heads/x",)),
    ended(2, status=500),
    begun(3),
]
LINKS, HEAD = chain(RECORDS)


def test_a_chain_that_nobody_touched_verifies() -> None:
    assert verify(LINKS, HEAD, "r1", KEY) is None
    assert verify([], origin("r1", KEY), "r1", KEY) is None
    again = [Link.model_validate_json(each.model_dump_json()) for each in LINKS]
    assert again == LINKS
    assert verify(again, HEAD, "r1", KEY) is None


def test_the_mac_is_of_the_record_its_number_and_all_before_it() -> None:
    first = hmac.new(KEY, b"tickover receipts 1\0r1", hashlib.sha256).hexdigest()
    body = json.dumps({"seq": 1, "record": RECORDS[0].model_dump(mode="json")}, sort_keys=True, separators=(",", ":"))
    assert LINKS[0].mac == hmac.new(KEY, first.encode() + b"\n" + body.encode(), hashlib.sha256).hexdigest()


def broken(links: list[Link], head: Head = HEAD, run: str = "r1", key: bytes = KEY, **more: bool) -> tuple[str, int]:
    found = verify(links, head, run, key, **more)
    assert isinstance(found, Broken)
    assert found.says
    return found.code, found.seq


FIELDS = [
    (index, field)
    for index, record in enumerate(RECORDS)
    for field in type(record).model_fields
    if field not in {"kind", "identity", "delivery"}
]


@pytest.mark.parametrize(("index", "field"), FIELDS, ids=[f"{index}-{field}" for index, field in FIELDS])
def test_an_edit_of_any_field_is_found(index: int, field: str) -> None:
    record = RECORDS[index]
    value: Any = getattr(record, field)
    other: Any = {str: "other", int: 999, float: 9.75, bool: False, tuple: ("other",)}.get(type(value), "other")
    if field in {"request_json", "response_json"}:
        other = Chosen(value=None)
    forged = LINKS[index].model_copy(update={"record": record.model_copy(update={field: other})})
    assert broken([*LINKS[:index], forged, *LINKS[index + 1 :]]) == ("changed", index + 1)


@pytest.mark.parametrize("index", range(5))
def test_a_deletion_is_found(index: int) -> None:
    rest = [*LINKS[:index], *LINKS[index + 1 :]]
    assert broken(rest) == (("cut", 5) if index == 4 else ("order", index + 2))
    renumbered = [each.model_copy(update={"seq": seq}) for seq, each in enumerate(rest, start=1)]
    assert broken(renumbered) == (("cut", 5) if index == 4 else ("changed", index + 1))


@pytest.mark.parametrize("index", range(4))
def test_a_swap_is_found(index: int) -> None:
    swapped = list(LINKS)
    swapped[index], swapped[index + 1] = swapped[index + 1], swapped[index]
    assert broken(swapped) == ("order", index + 2)
    renumbered = [each.model_copy(update={"seq": seq}) for seq, each in enumerate(swapped, start=1)]
    assert broken(renumbered) == ("changed", index + 1)


@pytest.mark.parametrize("kept", range(5))
def test_a_cut_tail_is_found(kept: int) -> None:
    assert broken(LINKS[:kept]) == ("cut", kept + 1)
    assert broken(LINKS[:kept], unfinished=True) == ("cut", kept + 1)


def test_a_repeated_and_an_added_record_are_found() -> None:
    assert broken([*LINKS, LINKS[-1]]) == ("order", 5)
    more, longer = chain([*RECORDS, ended(3)])
    assert broken(more) == ("beyond", 6)
    assert verify(more, HEAD, "r1", KEY, unfinished=True) is None
    assert verify(more, longer, "r1", KEY) is None
    forged = Link(seq=6, record=ended(3), mac="0" * 64)
    assert broken([*LINKS, forged], unfinished=True) == ("changed", 6)


def test_another_history_that_its_own_key_holder_wrote_is_not_the_sealed_one() -> None:
    other, _ = chain([begun(1, path="/other"), *RECORDS[1:], ended(3)])
    assert broken(other, unfinished=True) == ("changed", 5)


def test_a_chain_is_of_one_run_and_one_key() -> None:
    assert broken(LINKS, run="r2") == ("changed", 1)
    assert broken(LINKS, key=b"other") == ("changed", 1)
    assert broken([], origin("r2", KEY)) == ("changed", 0)
    assert broken(LINKS, Head(5, "0" * 64)) == ("changed", 5)
    assert broken(LINKS, Head(0, "")) == ("changed", 0)
    assert broken([LINKS[0].model_copy(update={"mac": "\udc80\u00e9"})]) == ("changed", 1)


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters()),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(json_values)
def test_canonical_json_outlives_a_store(value: Any) -> None:
    once = canonical_json(value)
    assert canonical_json(json.loads(once)) == once
    stored = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    assert canonical_json(stored) == once


def test_canonical_json_is_one_spelling() -> None:
    assert canonical_json({"b": 1.0, "a": ["\u00e9", 0.5, True]}) == b'{"a":["\\u00e9",0.5,true],"b":1}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("inf"))


def test_ends_find_their_begins_and_the_first_word_counts() -> None:
    records: list[Record] = [
        begun(2),
        begun(1),
        ended(1),
        ended(2, status=500),
        ended(1, status=404),
        ended(9),
        begun(1, rule="late"),
    ]
    found = receipts_of(records)
    assert [(each.begun.call, each.ended and each.ended.status) for each in found] == [(2, 500), (1, 200)]
    assert {each.begun.rule for each in found} == {"may[0]"}


@pytest.mark.parametrize(
    ("receipt", "left", "unknown"),
    [
        (Receipt(begun()), True, True),
        (Receipt(begun(), ended()), True, False),
        (Receipt(begun(), ended(delivery="cut", status=None)), True, True),
        (Receipt(begun(), ended(delivery="cut", status=200)), True, False),
        (Receipt(begun(), ended(delivery="unsent", status=None)), False, False),
    ],
    ids=["no end", "answered", "cut before the status", "cut after it", "never left"],
)
def test_what_left_without_an_answer_is_unknown(receipt: Receipt, left: bool, unknown: bool) -> None:
    assert (receipt.left, receipt.unknown) == (left, unknown)


def test_writes_are_counted_by_rule_over_all_attempts_unless_they_never_left() -> None:
    records: list[Record] = [
        begun(1), ended(1, delivery=Delivery.UNSENT, status=None), begun(2, attempt=2), begun(3, rule="may[1]"),
        begun(4), ended(4, status=500), begun(5, writes=False, rule="read"),
    ]  # fmt: skip
    assert counts_of(receipts_of(records)) == {"may[0]": 2, "may[1]": 1}


DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.integers(0, 3), st.text(st.sampled_from("ab"), max_size=2)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", "b", "0"]), inner, max_size=3)
    ),
    max_leaves=12,
)
PARTS = st.lists(st.sampled_from([".a", ".b", "[0]", "[2]", "[]", '["0"]']), min_size=1, max_size=4)
PATHS = PARTS.map(lambda parts: JsonPath.parse(f"${''.join(parts)}"))


@given(DOCUMENTS, st.lists(PATHS, max_size=4))
def test_each_path_gives_in_what_was_kept_what_it_gave_before(document: Any, paths: list[JsonPath]) -> None:
    kept = choose(document, paths, str)
    assert kept.complete
    for path in paths:
        assert path.get(kept.value) == path.get(document)


def test_nothing_else_is_kept_and_secrets_are_taken_out() -> None:
    document: Any = {"channel": "C0ENG", "token": "xoxb-1", "blocks": [{"text": "a xoxb-1", "id": 7}, {"id": 8}, 9]}
    fields = Fields({"channel": "C0ENG", "any": [{"blocks[].text": "x"}, {"blocks[1].id": 8}], "not": {"gone": 1}})
    kept = choose(document, fields.paths(), lambda text: text.replace("xoxb-1", "[secret]"))
    assert kept.value == {"channel": "C0ENG", "blocks": [{"text": "a [secret]"}, {"id": 8}, None]}
    assert [path.text for path in fields.paths()] == ["channel", "blocks[].text", "blocks[1].id", "gone"]
    assert choose(document, [], str).value == {}


def test_too_much_is_not_kept_at_all() -> None:
    path = [JsonPath.parse("a")]
    assert choose({"a": "x" * 100}, path, str, most=108).complete
    assert choose({"a": "x" * 100}, path, str, most=107) == Chosen(complete=False)
    assert choose({"a": "x" * 10, "b": "x" * 1000}, path, str, most=112) == Chosen(value={"a": "x" * 10})
