"""Hands of a check without a world: everything a check may look at, as dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tickover.checks.base import HttpAnswer, PinnedRun, SubjectFile, Where
from tickover.core.check import Subject
from tickover.core.errors import TickoverError
from tickover.core.receipt import Receipt


@dataclass
class FakeHands:
    """Answers from its fields and writes down what it was asked.

    Bytes in `subject` are a file written by the agent. A command that is not in `commands` is not found (127). What
    is missing elsewhere is a TickoverError, as is everything once `broken` is set. `connectors` maps a connector and a
    path to its answer, or to the answers of its pages, by `page` or `cursor` (1, 2, ...) of the query.
    """

    subject: Mapping[str, bytes | SubjectFile] = field(default_factory=dict)
    pinned: Mapping[str, bytes] = field(default_factory=dict)
    commands: Mapping[str, PinnedRun] = field(default_factory=dict)
    refs: Mapping[tuple[str, Where], Mapping[str, str]] = field(default_factory=dict)
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    pages: Mapping[str, HttpAnswer] = field(default_factory=dict)
    connectors: Mapping[tuple[str, str], HttpAnswer | Sequence[HttpAnswer]] = field(default_factory=dict)
    rows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    began: float = 1_800_000_000.0
    calls: Sequence[Receipt] = ()
    broken: TickoverError | None = None
    asked: list[tuple[object, ...]] = field(default_factory=list)

    async def run_pinned(self, run: str, *, subject: Subject, timeout_s: float) -> PinnedRun:
        self._note("run_pinned", run, subject, timeout_s)
        return self.commands.get(run, PinnedRun("exited", 127, stderr=f"sh: 1: {run}: not found\n".encode()))

    async def read_subject(self, path: str, *, max_bytes: int) -> SubjectFile:
        self._note("read_subject", path)
        found = self.subject.get(path, SubjectFile("missing"))
        if isinstance(found, SubjectFile):
            return found
        if len(found) > max_bytes:
            return SubjectFile("too_large", size=len(found), written=True)
        return SubjectFile("file", found, len(found), written=True)

    async def read_pinned(self, path: str) -> bytes:
        self._note("read_pinned", path)
        if path not in self.pinned:
            raise TickoverError("check.no_file", f"checks/ has no {path}")
        return self.pinned[path]

    async def resolve_ref(self, repo: str, where: Where, ref: str) -> str | None:
        self._note("resolve_ref", repo, where, ref)
        if (repo, where) not in self.refs:
            raise TickoverError("repository.unreachable", f"{repo} cannot be reached")
        return self.refs[repo, where].get(ref)

    async def count_commits(self, repo: str, where: Where, *, base: str, head: str) -> int:
        self._note("count_commits", repo, where, base, head)
        return self.counts[base, head]

    async def http_get(self, url: str, *, timeout_s: float) -> HttpAnswer:
        self._note("http_get", url, timeout_s)
        if url not in self.pages:
            raise TickoverError("http.unreachable", f"{url} cannot be reached: connection refused")
        return self.pages[url]

    async def read_connector(self, name: str, path: str, query: Mapping[str, str]) -> HttpAnswer:
        self._note("read_connector", name, path, dict(query))
        if (name, path) not in self.connectors:
            raise TickoverError("connector.unreachable", f"{name} cannot be reached: connection refused")
        found = self.connectors[name, path]
        if isinstance(found, HttpAnswer):
            return found
        return found[int(query.get("page") or query.get("cursor") or 1) - 1]

    async def count_rows(self, connector: str, query: str, values: tuple[str, ...]) -> int:
        self._note("count_rows", connector, query, values)
        if (connector, query) not in self.rows:
            raise TickoverError("sql.refused", f"{connector} says: syntax error")
        return self.rows[connector, query]

    async def receipts(self) -> Sequence[Receipt]:
        self._note("receipts")
        return self.calls

    def _note(self, *what: object) -> None:
        self.asked.append(what)
        if self.broken:
            raise self.broken
