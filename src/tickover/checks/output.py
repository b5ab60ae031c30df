"""The check `output`: the agent's own result has the shape that a JSON Schema under `checks/` describes. A claim.

The result is `.tickover/output.json` of the workspace, written during this run. It and the schema meet in a process
of their own: a pattern or a list written to take forever costs a deadline, not the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import ClassVar

from tickover.checks.base import Answer, Hands, verdict
from tickover.core.check import OutputCheck
from tickover.core.document import DocumentError, read_json
from tickover.core.errors import TickoverError
from tickover.core.evidence import CheckResult

OUTPUT_FILE = ".tickover/output.json"
LARGEST_OUTPUT = 1 << 20
_DEADLINE_S = 20.0


class SchemaUnusable(TickoverError):  # noqa: N818 - it is the schema that is at fault
    """The comparison itself failed: a schema that is none, or one that takes too long."""


class Check:
    """Compares the result with the schema."""

    kind: ClassVar[str] = "output"

    async def evaluate(self, definition: OutputCheck, hands: Hands) -> Answer:
        file = await hands.read_subject(OUTPUT_FILE, max_bytes=LARGEST_OUTPUT)
        if file.status == "missing" or (file.status == "file" and not file.written):
            return Answer(CheckResult.FAIL, f"the agent wrote no {OUTPUT_FILE}", {"status": "missing"})
        if file.status != "file":
            why = file.reason or f"{file.size} bytes, more than {LARGEST_OUTPUT}"
            return Answer(CheckResult.FAIL, f"{OUTPUT_FILE} is not read: {why}", {"status": file.status})
        try:
            document = read_json(file.data)
        except DocumentError as error:
            return Answer(CheckResult.FAIL, f"{OUTPUT_FILE} is no JSON: {error}", {"size": file.size})
        try:
            schema = read_json(await hands.read_pinned(definition.schema_))
        except DocumentError as error:
            return Answer(CheckResult.ERROR, f"{definition.schema_} is no JSON: {error}")
        problems = await compare(schema, document)
        says = f"{OUTPUT_FILE} has the shape of {definition.schema_}"
        if problems:
            says = f"{OUTPUT_FILE}: {problems[0]}" + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")
        return Answer(verdict(not problems), says, {"size": file.size, "problems": list(problems)}, file.data)


async def compare(schema: object, document: object, *, deadline_s: float = _DEADLINE_S) -> list[str]:
    """Return what is wrong with a document, at most ten sentences. Raises SchemaUnusable.

    Both must have been read by `read_json`. Runs `schema_child.py` with limited memory and an empty environment.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "tickover.checks.schema_child"),
        env={"PYTHONPATH": os.pathsep.join(part for part in sys.path if part), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(deadline_s):
            said, _ = await child.communicate(json.dumps({"schema": schema, "document": document}).encode())
    except TimeoutError as error:
        raise SchemaUnusable(
            "schema.slow", f"the comparison with the schema took more than {deadline_s:g} s"
        ) from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise SchemaUnusable("schema.broken", f"the comparison with the schema failed (exit code {child.returncode})")
    answer = json.loads(said)
    if "unusable" in answer:
        raise SchemaUnusable("schema.invalid", f"the schema cannot be used: {answer['unusable']}")
    return [str(problem) for problem in answer["problems"]]
