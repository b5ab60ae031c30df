"""The check `receipt`: what the gateway saw the agent send, and how it was answered (core/effect.py judges)."""

from __future__ import annotations

import json
from typing import ClassVar

from pydantic import JsonValue

from tickover.checks.base import Answer, Hands
from tickover.core.check import ReceiptCheck
from tickover.core.effect import is_about, judge_receipts


class Check:
    """Looks through all receipts of the run, over all attempts. The evidence is those of this address."""

    kind: ClassVar[str] = "receipt"

    async def evaluate(self, definition: ReceiptCheck, hands: Hands) -> Answer:
        receipts = await hands.receipts()
        said = judge_receipts(definition, receipts)
        about = [each for each in receipts if is_about(each, definition)]
        kept = [
            {
                "begun": each.begun.model_dump(mode="json"),
                "ended": each.ended.model_dump(mode="json") if each.ended else None,
            }
            for each in about
        ]
        calls = [each.begun.call for each in about]
        detail: dict[str, JsonValue] = {"to": definition.to, "calls": [*calls[:_MOST]], "receipts": len(calls)}
        return Answer(said.result, said.summary, detail, json.dumps(kept).encode())


_MOST = 100  # numbers of calls that the detail names
