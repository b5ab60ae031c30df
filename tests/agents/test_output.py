from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tickover.agents.output import PIECE, LineSplitter, OutputLog, writable
from tickover.core.event import AgentOutput


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b"\n\n", b"{", b"{a", b"x" * 30])), st.integers(1, 20))
def test_lines_lose_and_invent_nothing(pieces: list[bytes], limit: int) -> None:
    splitter = LineSplitter(b"{", limit)
    got = [pair for piece in pieces for pair in splitter.feed(piece)] + splitter.finish()
    whole = b"".join(pieces)
    assert b"".join(line for line, _ in got) == whole
    fitting = [line for line in whole.split(b"\n")[:-1] if len(line) < limit and line.startswith(b"{")]
    assert [line for line, whole in got if whole] == [line + b"\n" for line in fitting]


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text())), st.integers(0, 30))
def test_a_log_keeps_the_first_bytes_and_counts_the_rest(writes: list[tuple[str, str]], limit: int) -> None:
    log = OutputLog(limit)
    facts = [fact for stream, text in writes for fact in log.add(stream, text)]  # type: ignore[arg-type]
    facts += log.close()
    kept = sum(len(json.dumps(fact.text or "")) - 2 for fact in facts if isinstance(fact, AgentOutput))
    whole = sum(len(json.dumps(writable(text))) - 2 for _, text in writes)
    sent = sum(len(text.encode("utf-8", "replace")) for _, text in writes)
    assert kept <= limit
    assert (log.dropped == 0) is (whole <= limit)
    assert log.dropped >= sent - limit
    assert sum(isinstance(fact, AgentOutput) and fact.truncated for fact in facts) == (whole > limit)


def test_large_text_comes_in_pieces_and_small_text_together() -> None:
    log = OutputLog(10 * PIECE)
    assert log.add("stdout", "a") == []
    sizes = [len(fact.text or "") for fact in log.add("stdout", "b" * (2 * PIECE)) if isinstance(fact, AgentOutput)]
    assert sizes == [PIECE, PIECE, 1]


def test_what_no_store_can_write_is_replaced() -> None:
    log = OutputLog(100)
    log.add("stdout", "a\0b\ud800\x1b[1m")
    assert log.flush() == [AgentOutput(stream="stdout", text="a\ufffdb?\x1b[1m")]
