"""The check `file`: a file of the workspace is there and holds what it should.

That it is there, or large enough, is the agent's claim. Only a comparison with something pinned is more.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar

from pydantic import JsonValue

from tickover.checks.base import Answer, Hands, SubjectFile, verdict
from tickover.core.check import FileCheck
from tickover.core.evidence import CheckResult

LARGEST_COMPARED = 64 << 20
"""Bytes of a file that is compared; a larger one is an error, not a mismatch."""


class Check:
    """Looks at one file."""

    kind: ClassVar[str] = "file"

    async def evaluate(self, definition: FileCheck, hands: Hands) -> Answer:
        compares = definition.equals is not None or definition.sha256 is not None or definition.same_as is not None
        file = await hands.read_subject(definition.path, max_bytes=LARGEST_COMPARED if compares else 0)
        path = definition.path
        if file.status == "missing":
            return Answer(CheckResult.FAIL, f"{path} is not there", {"status": "missing"})
        if file.status == "refused":
            detail = {"status": "refused", "reason": file.reason}
            return Answer(CheckResult.FAIL, f"{path} is not read: {file.reason}", detail)
        if compares and file.status == "too_large":
            says = f"{path} has {file.size} bytes; at most {LARGEST_COMPARED} are compared"
            return Answer(CheckResult.ERROR, says, {"size": file.size})
        if definition.min_bytes is not None and file.size < definition.min_bytes:
            says = f"{path} has {file.size} bytes, less than {definition.min_bytes}"
            return Answer(CheckResult.FAIL, says, {"size": file.size, "written": file.written})
        return await self._compare(definition, file, hands) if compares else _there(path, file)

    async def _compare(self, definition: FileCheck, file: SubjectFile, hands: Hands) -> Answer:
        digest = hashlib.sha256(file.data).hexdigest()
        if definition.sha256 is not None:
            wanted, of = definition.sha256, "sha256"
        elif definition.same_as is not None:
            wanted, of = hashlib.sha256(await hands.read_pinned(definition.same_as)).hexdigest(), definition.same_as
        else:
            wanted, of = hashlib.sha256((definition.equals or "").encode()).hexdigest(), "the text in the contract"
        same = digest == wanted
        detail: dict[str, JsonValue] = {
            "size": file.size,
            "sha256": digest,
            "wanted_sha256": wanted,
            "written": file.written,
        }
        return Answer(verdict(same), f"{definition.path} {'equals' if same else 'differs from'} {of}", detail)


def _there(path: str, file: SubjectFile) -> Answer:
    return Answer(CheckResult.PASS, f"{path} has {file.size} bytes", {"size": file.size, "written": file.written})
