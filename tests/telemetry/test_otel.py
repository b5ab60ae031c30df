"""Traces as a collector reads them: the exporter is OpenTelemetry's own, the sink decodes with `opentelemetry-proto`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tickover.app import Tickover
from tickover.control.tracing import Tracing
from tickover.core.noticed import Notice
from tickover.core.trace import Trace
from tickover.testing.http import Double, double
from tickover.testing.stories import VERIFIED, journal


def spans(there: Double) -> list[Any]:
    found: list[Any] = []
    for sent in there.sent:
        request = ExportTraceServiceRequest()
        request.ParseFromString(sent.body)
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert names["service.name"] == "tickover"
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


async def test_a_run_that_ends_is_a_trace_at_the_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = journal(VERIFIED)
    async with double(lambda _: (200, {}, b"")) as there:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        async with await Tickover.open(tmp_path / "home", sandbox=False) as tickover:
            told = [{"type": each.type, **each.data} for each in events]
            tickover.store.journal.append("run-1", 0, told)
            wrong: list[BaseException] = []
            tracing = tickover.tracing(lambda _what, error: wrong.append(error))
            assert tracing is not None
            async with tracing:
                tracing.noticed(Notice("ended", "r", 0.0, run="run-1"))
                async with asyncio.timeout(60):
                    while not there.sent and not wrong:
                        await asyncio.wait({asyncio.create_task(asyncio.to_thread(len, there.sent))})
            assert wrong == []
        assert {each.path for each in there.sent} == {"/v1/traces"}
        found = spans(there)
    [root] = [each for each in found if not each.parent_span_id]
    assert root.name.startswith("run ")
    assert {each.key: each.value.string_value for each in root.attributes}["tickover.outcome"] == "verified"
    assert len({each.trace_id for each in found}) == 1
    ids = {each.span_id for each in found}
    assert len(ids) == len(found)
    assert all(each.parent_span_id in ids for each in found if each is not root)


class Broken:
    """A collector that is down for every other run."""

    def __init__(self) -> None:
        self.taken: list[Trace] = []
        self.asked = 0

    def send(self, trace: Trace) -> bool:
        self.asked += 1
        if self.asked % 2:
            raise OSError("no route")
        self.taken.append(trace)
        return True

    def close(self) -> None:
        pass


async def test_a_collector_that_is_down_is_said_and_stops_nothing() -> None:
    sender, wrong = Broken(), list[BaseException]()
    events = journal(VERIFIED)
    async with Tracing(lambda _run, after: events[after:], sender, wrong.append) as tracing:
        for run in ("a", "b"):
            tracing.noticed(Notice("ended", "r", 0.0, run=run))
        tracing.noticed(Notice("paused", "r", 0.0))
        async with asyncio.timeout(60):
            while sender.asked < 2:
                await asyncio.wait({asyncio.create_task(asyncio.to_thread(len, wrong))})
    assert (len(wrong), len(sender.taken)) == (1, 1)


async def test_without_an_address_nothing_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    async with await Tickover.open(tmp_path / "home", sandbox=False) as tickover:
        assert tickover.tracing() is None
