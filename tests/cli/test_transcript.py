from __future__ import annotations

import io

import pytest

from tickover.cli.blocks import Block, Plain
from tickover.cli.transcript import Transcript
from tickover.core.event import AgentOutput, AgentText, AgentToolCall, AgentToolResult, CancelRequested, Fact
from tickover.core.status import AgentStatus
from tickover.testing.stories import (
    FAILED,
    HOSTILE,
    REFUSED,
    RETRIED,
    SKIPPED,
    VERIFIED,
    created,
    journal,
    prepared,
    said,
    worked,
)


class Watched(Plain):
    """Plain, and remembers what was said to be going on."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        super().__init__(self.out)
        self.doing: list[str] = []
        self.closed = 0

    def busy(self, what: str) -> None:
        self.doing.append(what)

    def close(self) -> None:
        self.closed += 1

    def show(self, *blocks: Block) -> None:
        super().show(*blocks)


def told(facts: list[Fact], blobs: dict[str, bytes] | None = None) -> Watched:
    screen = Watched()
    transcript = Transcript(screen, (blobs or {}).__getitem__)
    for event in journal(facts):
        transcript.event(event)
    return screen


WHOLE = """\
count  run 261118-1
  Counts things.
version abababababab  app@c2a4577e30cc
  preflight  250 ms
  baseline   expect[1] file already holds, before the agent begins
  baseline   250 ms
  sandbox    bwrap (tier sandbox), network none; not protected: cpu limit: none
  agent      steps@1
  │ Posted to #eng
  the agent claims: done (a claim proves nothing)
  │ All done.
  │ Really.
  agent completed, exit code 0
  agent      1 min 2 s
  artifacts  250 ms
  verify     250 ms

checks
           check      kind     class     why
  ✘ fail   expect[0]  http     state     no message
  ✔ pass   expect[1]  file     artifact  out/x is there; held before the agent began, so it proves nothing
  ▲ error  expect[2]  command  artifact  -; guard

findings
  ! noted     step_failed      step `two` ended with exit code 1
  ✘ required  receipts_broken  the chain of receipts does not verify

✘ FAILED  (expect[0] http: no message)
execution completed after 13.5 s
"""


def test_a_run_from_its_first_event_to_its_last() -> None:
    assert told(FAILED).out.getvalue() == WHOLE


def test_what_is_being_done_is_said_until_the_end() -> None:
    screen = told(VERIFIED)
    assert screen.doing[0] == "preflight: looking whether all is there"
    assert screen.doing[-1] == "expect[0] command: pass"
    assert screen.closed == 1


def test_of_an_old_run_nothing_is_said_to_be_going_on() -> None:
    screen = Watched()
    transcript = Transcript(screen, dict[str, bytes]().__getitem__, live=False)
    for event in journal(VERIFIED):
        transcript.event(event)
    assert screen.doing == []


def test_a_line_that_came_in_pieces_is_one_line() -> None:
    assert "\n  │ 14 changes\n  step history  python  ok  500 ms  Read the history\n" in told(VERIFIED).out.getvalue()


def test_two_streams_do_not_mix_their_unfinished_lines() -> None:
    facts: list[Fact] = [said("out"), AgentOutput(stream="stderr", text="err\n"), said("put\n")]
    assert "  │ err\n  │ output\n" in told([*created(), *prepared(), *worked(*facts)]).out.getvalue()


def test_an_escape_cut_in_two_is_still_stripped() -> None:
    shown = told([*created(), *prepared(), *worked(said("\x1b[3"), said("1mred\n"))]).out.getvalue()
    assert "  │ red\n" in shown


def test_a_line_without_end_is_shown_in_bounded_pieces() -> None:
    shown = told([*created(), *prepared(), *worked(*[said("x" * 5000)] * 4)]).out.getvalue()
    assert shown.count("  │ x") == 2


def test_long_output_is_read_from_its_blob_and_what_is_missing_is_said() -> None:
    output = AgentOutput(stream="stdout", blob="d", truncated=True)
    shown = told([*created(), *prepared(), *worked(output)], {"d": b"body \xff"}).out.getvalue()
    assert "  │ body \ufffd\n  ! more was written than is kept\n" in shown


def test_the_words_of_an_agent_with_tools() -> None:
    facts: list[Fact] = [
        AgentText(text="I shall look."),
        AgentToolCall(id="1", tool="read\x1b[2J", arguments={"path": "a\u202eb"}),
        AgentToolResult(id="1", ok=False, text="no such file"),
    ]
    shown = told([*created(), *prepared(), *worked(*facts, status=AgentStatus.FAILED)]).out.getvalue()
    assert '  │ I shall look.\n  tool read {"path": "a\\u202eb"}\n  tool answered failed\n  │ no such file\n' in shown
    assert "agent failed, exit code 1" in shown


@pytest.mark.parametrize(
    ("says", "status", "hint"),
    [
        ("curl: (6) Could not resolve host: wiki.test\n", AgentStatus.FAILED, True),
        ("getaddrinfo ENOTFOUND wiki.test\n", AgentStatus.FAILED, True),
        ("curl: (6) Could not resolve host: wiki.test\n", AgentStatus.COMPLETED, False),
        ("no such file\n", AgentStatus.FAILED, False),
    ],
)
def test_who_failed_for_want_of_a_host_is_told_how_to_open_it(says: str, status: AgentStatus, hint: bool) -> None:
    shown = told([*created(), *prepared(), *worked(said(says), status=status)]).out.getvalue()
    assert ("`environment: {network: [HOST]}`" in shown) is hint


@pytest.mark.parametrize(
    ("story", "end"),
    [
        (SKIPPED, "- NONE  `only_if` says there is nothing to do\nexecution skipped\n"),
        (RETRIED, ("- NONE  the agent never started\nexecution failed after 4.0 s, 2 attempts: a repository could not be "
                  "fetched or checked out (in clone): still not there\n")),
        (REFUSED, ("- NONE  the agent never started\nexecution refused: this machine's isolation is weaker than the "
                  "routine asks for (in preflight): ask for less, or run it on another machine\n")),
    ],
)  # fmt: skip
def test_how_runs_end_whose_agent_never_started(story: list[Fact], end: str) -> None:
    assert told(story).out.getvalue().endswith("\n\n" + end)


def test_another_attempt_is_announced_with_the_reason() -> None:
    shown = told(RETRIED).out.getvalue()
    assert "  attempt 1 ended: a repository could not be fetched" in shown
    assert "  attempt 2 starts in 1 min 38 s: clone_failed may be tried again\n\nattempt 2\n" in shown


def test_who_cancelled_is_said() -> None:
    assert (
        "  cancelled by ada (command line)\n"
        in told([*created(), CancelRequested(by="ada (command line)")]).out.getvalue()
    )


def test_an_agent_cannot_paint_a_verdict() -> None:
    shown = told([*created(), *prepared(), *worked(said(HOSTILE + "\n"), AgentText(text=HOSTILE))]).out.getvalue()
    assert not [letter for letter in shown if letter != "\n" and not letter.isprintable()]
    verdicts = [line for line in shown.split("\n") if "verified" in line]
    assert verdicts
    assert all(line.startswith("  │ ") for line in verdicts)
