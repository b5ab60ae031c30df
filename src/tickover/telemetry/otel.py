"""Traces over OTLP/HTTP by OpenTelemetry's own exporter (the extra `otel`), set up by its own OTEL_* variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from tickover import __version__
from tickover.core.trace import Span, Trace

_KINDS: Final = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT}
_STATES: Final = {None: StatusCode.UNSET, True: StatusCode.OK, False: StatusCode.ERROR}
_SCOPE: Final = InstrumentationScope("tickover", __version__)


class Exporter:
    """Sends traces. Every method blocks."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._resource = Resource.create({"service.name": "tickover", "service.version": __version__})

    def send(self, trace: Trace) -> bool:
        """Send a trace, trying again for some seconds; return whether it was taken."""
        told = [readable(span, trace, self._resource) for span in trace.spans]
        return self._send(told) is SpanExportResult.SUCCESS

    def _send(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export(spans)

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def readable(span: Span, trace: Trace, resource: Resource) -> ReadableSpan:
    """Return the span as the exporter reads it."""
    return ReadableSpan(
        name=span.name,
        context=_context(trace.id, span.id),
        parent=None if span.parent is None else _context(trace.id, span.parent),
        resource=resource,
        attributes=dict(span.attributes),
        kind=_KINDS[span.kind],
        status=Status(_STATES[span.ok], span.says or None if span.ok is False else None),
        start_time=int(span.start * 1_000_000_000),
        end_time=int(span.end * 1_000_000_000),
        instrumentation_scope=_SCOPE,
    )


def _context(trace: bytes, span: bytes) -> SpanContext:
    return SpanContext(
        int.from_bytes(trace, "big"), int.from_bytes(span, "big"), is_remote=False, trace_flags=TraceFlags(1)
    )
