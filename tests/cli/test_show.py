from __future__ import annotations

import io
from dataclasses import replace

import pytest

from tickover.cli.blocks import Block, Line, Plain, Table, ink
from tickover.cli.show import OUTCOMES, check_table, headline, outcome_cell, process, run_page, run_table
from tickover.core.cause import Cause, CauseCode
from tickover.core.event import AgentUsage, Fact, ModelCalled
from tickover.core.evidence import NOT_EVALUATED, CheckList, CheckResult, EvidenceClass
from tickover.core.status import Execution, Outcome, Phase
from tickover.testing.stories import (
    FAILED,
    HOSTILE,
    REFUSED,
    RETRIED,
    SKIPPED,
    START,
    VERIFIED,
    check,
    created,
    folded,
    judged,
    prepared,
    worked,
)


def drawn(*blocks: Block) -> str:
    out = io.StringIO()
    Plain(out).show(*blocks)
    return out.getvalue()


PAGE = """\
count  run 261118-1
  Counts things.

✘ FAILED  (expect[0] http: no message)
execution completed after 13.5 s

checks
           check      kind     class     why
  ✘ fail   expect[0]  http     state     no message
  ✔ pass   expect[1]  file     artifact  out/x is there; held before the agent began, so it proves nothing
  ▲ error  expect[2]  command  artifact  -; guard

findings
  ! noted     step_failed      step `two` ended with exit code 1
  ✘ required  receipts_broken  the chain of receipts does not verify

the agent's claim (its own words, no evidence)
  │ done: All done.
  │ Really.

artifacts
  out/shadow  not taken  symbolic link

attempt: completed, agent completed (exit code 0)
  preflight  250 ms
  baseline   250 ms
  agent      1 min 2 s
  artifacts  250 ms
  verify     250 ms

sandbox
  backend        bwrap (tier sandbox), network none
  limits         memory 2.0 GiB, pids 512
  in force       empty network, private uids
  not protected  cpu limit: none

run
  started     2 min ago (2026-11-18 11:06:40 UTC), manual
  folder      /srv/routines/count
  version     abababababab
  repository  app at c2a4577e30cc
  input       week = last
  agent       steps@1
  exit code   5
"""


def test_the_page_of_a_run() -> None:
    assert drawn(*run_page(folded(FAILED), START + 120)) == PAGE


def test_a_run_that_was_tried_twice_says_why_of_each_attempt() -> None:
    page = drawn(*run_page(folded(RETRIED), START))
    assert "- NONE  the agent never started\nexecution failed after 4.0 s, 2 attempts: a repository" in page
    assert "attempt 1: failed\n  preflight  250 ms\n  a repository" in page
    assert "the repository is not there\n" in page
    assert "attempt 2: failed\n  a repository" in page


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (
            REFUSED,
            "execution refused: this machine's isolation is weaker than the routine asks for (in preflight): ask",
        ),
        (SKIPPED, "- NONE  `only_if` says there is nothing to do\nexecution skipped\n"),
        (VERIFIED, "✔ VERIFIED  (artifact: recounted: 14)\nexecution completed after 11.5 s\n"),
        (VERIFIED[:4], "PREPARING  no verdict yet\nexecution preparing\n"),
    ],
)
def test_the_two_facts_come_first(story: list, words: str) -> None:  # type: ignore[type-arg]
    assert words in drawn(*run_page(folded(story), START))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            [
                ModelCalled(host="m.test", port=443, dialect="anthropic", input_tokens=10, cache_read_tokens=5,
                            output_tokens=3, cost_usd=0.25),
                ModelCalled(host="m.test", port=443, dialect="anthropic", output_tokens=1, cost_usd=0.5, estimated=True),
                AgentUsage(input_tokens=999, output_tokens=999, cost_usd=9),
            ],
            "model       2 calls: 15 tokens in (5 from a cache), 4 out, 0.7500 USD, 1 of them estimated\n",
        ),
        ([AgentUsage(input_tokens=9, output_tokens=8)], "the agent says: 9 tokens in, 8 out, price unknown\n"),
    ],
)  # fmt: skip
def test_what_models_took_is_the_gateways_count_or_the_agents_word(facts: list[Fact], words: str) -> None:
    assert words in drawn(*run_page(folded([*created(), *prepared(), *facts]), START))


def test_every_outcome_has_a_shape_of_its_own_and_its_word() -> None:
    assert set(OUTCOMES) == set(Outcome)
    assert len({sign.shape for sign in OUTCOMES.values()}) == len(Outcome)
    assert all(outcome.value in outcome_cell(outcome).text for outcome in Outcome)


def test_green_is_only_what_was_proved_and_execution_has_no_colour() -> None:
    good = {outcome for outcome, sign in OUTCOMES.items() if sign.look == "good"}
    assert good == {Outcome.VERIFIED, Outcome.NOOP}
    for execution in Execution:
        [line] = process(execution, None, 1)
        assert isinstance(line, Line)
        assert {ink(cell).look for cell in line.cells} == {"dim"}


def test_output_in_a_cause_is_quoted() -> None:
    cause = Cause(Phase.LAYER, CauseCode.SETUP_FAILED, "line 3: `make`\n++ make\n✔ VERIFIED")
    assert drawn(*process(Execution.FAILED, cause, 1)) == (
        "execution failed after 1.0 s: the environment's setup script failed, so the agent was not started (in layer): "
        "line 3: `make`\n  │ ++ make\n  │ ✔ VERIFIED\n"
    )


@pytest.mark.parametrize("outcome", Outcome)
def test_the_headline_says_the_outcome_once(outcome: Outcome) -> None:
    shown = drawn(*headline(outcome, f"{outcome} (because)"))
    assert shown == f"{OUTCOMES[outcome].shape} {outcome.upper()}  (because)\n"


def looks(*checks: object) -> list[str]:
    [table] = check_table(checks)  # type: ignore[arg-type]
    assert isinstance(table, Table)
    return [ink(row[0]).look for row in table.rows]


def test_a_check_that_passes_is_green_only_if_it_proves() -> None:
    proves = check(0, CheckResult.PASS, "", proves=True)
    holds = check(1, CheckResult.PASS, "", vacuous=True)
    claims = check(2, CheckResult.PASS, "it is there", evidence_class=EvidenceClass.CLAIM)
    assert looks(proves, holds, claims) == ["good", "", ""]
    assert "only a claim of the agent" in drawn(*check_table([claims]))


def test_a_noop_check_that_nobody_had_to_ask_is_no_error() -> None:
    unasked = replace(check(0, CheckResult.ERROR, NOT_EVALUATED), list=CheckList.NOOP)
    broken = replace(unasked, summary="the command was not found")
    assert looks(unasked, broken) == ["dim", "warn"]
    assert "asked only if the agent claims" in drawn(*check_table([unasked]))


def test_runs_are_listed_with_both_facts() -> None:
    table = run_table([folded(FAILED), folded(VERIFIED[:4])], START + 120)
    assert drawn(table) == (
        "RUN       ROUTINE  OUTCOME   EXECUTION  STARTED    TOOK\n"
        "261118-1  count    ✘ failed  completed  2 min ago  13.5 s\n"
        "261118-1  count    -         preparing  2 min ago  2 min 0 s\n"
    )


def test_no_text_of_a_run_reaches_the_terminal_as_it_came() -> None:
    facts = [
        *created(HOSTILE),
        *prepared(),
        *worked(),
        *judged(Outcome.FAILED, HOSTILE, [check(0, CheckResult.FAIL, HOSTILE)], [], 5),
    ]
    page = drawn(*run_page(folded(facts), START))
    assert not [letter for letter in page if letter != "\n" and not letter.isprintable()]
    assert "\n✔ verified" not in page
    assert "\noutcome: verified" not in page
