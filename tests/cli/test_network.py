from __future__ import annotations

from typing import Any

import pytest

from tickover.cli.blocks import plain
from tickover.cli.network import network_json, network_page
from tickover.control.receipts import Traffic
from tickover.core.event import ConnectionDenied, RunCreated, encode
from tickover.core.receipt import Begun, Ended, Head, Link
from tickover.core.run import fold

ROW = fold([encode(RunCreated(routine="digest"), run="r-1", seq=1, at=1.0, attempt=0, fence=0)])
HOSTILE = "\x1b[2J\x1b]0;x\x07\u202e\n  ✔ chain verified"


def begun(call: int = 1, **more: Any) -> Begun:
    keys: dict[str, Any] = {"at": 1.0, "attempt": 1, "method": "POST", "scheme": "https", "host": "chat.test"}
    return Begun(call=call, **{**keys, "port": 443, "path": "/post", "rule": "may[0]", "writes": True, **more})


def ended(call: int = 1, **more: Any) -> Ended:
    keys: dict[str, Any] = {"at": 2.0, "delivery": "answered", "status": 200, "duration_ms": 12, "request_bytes": 340}
    return Ended(call=call, **{**keys, "response_bytes": 2048, **more})


def traffic(*records: Begun | Ended, sealed: int | None = None, denials: tuple[ConnectionDenied, ...] = ()) -> Traffic:
    links = tuple(Link(seq=seq, record=record, mac="ab" * 32) for seq, record in enumerate(records, 1))
    return Traffic(links, None if sealed is None else Head(sealed, "ab" * 32), denials)


def page(of: Traffic, wrong: str = "") -> str:
    return "\n".join(line for block in network_page(ROW, of, wrong) for line in plain(block))


def test_a_call_is_a_row_with_everything_the_gateway_saw() -> None:
    shown = page(traffic(begun(credential="chat"), ended(), sealed=2))
    assert "w  1     agent  POST https://chat.test/post  200     340 B  2.0 KiB  12 ms  may[0]  chat" in shown
    assert "✔ chain verified, sealed at record 2 (abababababab)" in shown
    assert "denied" not in shown


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([begun()], "!  1     agent  POST https://chat.test/post  unknown: it left, and nothing more is known"),
        ([begun(), ended(delivery="cut", status=None, why="reset")], "unknown: reset"),
        ([begun(), ended(delivery="cut")], "200, broken off"),
        ([begun(), ended(delivery="unsent", status=None, why="no route")], "never left: no route"),
        (
            [begun(writes=False, method="GET", port=8443, query="a=b"), ended()],
            "r  1     agent  GET https://chat.test:8443/post?a=b",
        ),
        ([begun(identity="verifier"), ended()], "verifier"),
        ([begun(refs=("refs/heads/tickover/a",)), ended()], "refs/heads/tickover/a"),
    ],
)
def test_every_end_of_a_call_has_its_words(records: list[Begun | Ended], says: str) -> None:
    assert says in page(traffic(*records))


def test_denials_have_reason_and_count() -> None:
    denied = ConnectionDenied(host="evil.test", port=443, code="not_listed", says="evil.test is not on it", times=3)
    refused = ConnectionDenied(
        host="chat.test", port=443, code="max", says="1 left already", method="POST", path="/post"
    )
    shown = page(traffic(denials=(denied, refused)))
    assert "  3      agent  evil.test:443            not_listed  evil.test is not on it" in shown
    assert "  1      agent  POST chat.test:443/post  max         1 left already" in shown


def test_a_chain_that_does_not_verify_is_told_before_all() -> None:
    shown = page(traffic(begun(), ended(), sealed=2), "record 1 is not as it was written")
    assert "✘ not as the gateway wrote them: record 1 is not as it was written" in shown
    assert "chain verified" not in shown
    assert "never sealed" in page(traffic(begun()))
    assert "never sealed" not in page(traffic())
    assert "1 record after the seal" in page(traffic(begun(), ended(), begun(2), sealed=2))


def test_hostile_text_cannot_make_a_line_of_ours() -> None:
    denied = ConnectionDenied(host=HOSTILE, port=1, code="bad", says=HOSTILE, method=HOSTILE, path=HOSTILE)
    shown = page(traffic(begun(path=HOSTILE, query=HOSTILE), ended(), denials=(denied,)))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert not any(line.startswith(("✔", "  ✔")) for line in shown.splitlines())


def test_programs_get_all_of_it() -> None:
    told = network_json(ROW, traffic(begun(), ended(), begun(2), sealed=2), "")
    assert (told["verified"], told["records"], told["sealed"]["receipt"]) == (True, 3, 2)
    assert [each["unknown"] for each in told["receipts"]] == [False, True]
    assert told["receipts"][0]["ended"]["at"] == "1970-01-01T00:00:02.000000Z"
    assert network_json(ROW, traffic(begun()), "cut")["verified"] is False
