"""What Prometheus reads: requests of this process, and the runs of the whole data folder."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from tickover.core.status import LIVE
from tickover.store.usage import RunSum

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 5, 30)


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tickover_http_requests", "Requests answered.", ("operation", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "tickover_http_seconds",
            "Seconds from a request's head to its answer's head.",
            ("operation",),
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def answered(self, operation: str, status: int, seconds: float) -> None:
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def text(self, sums: Sequence[RunSum]) -> bytes:
        """Return the exposition, with the runs as they are now."""
        once = CollectorRegistry()
        once.register(_Runs(sums))
        return bytes(generate_latest(self._registry)) + bytes(generate_latest(once))


class _Runs:
    def __init__(self, sums: Sequence[RunSum]) -> None:
        self._sums = sums

    def collect(self) -> Iterable[Metric]:
        ends: Tally[tuple[str, str, str]] = Tally()
        live: Tally[tuple[str, str]] = Tally({("", str(execution)): 0 for execution in LIVE})
        for each in self._sums:
            if each.execution in LIVE:
                live["", each.execution] += each.runs
            else:
                ends[each.routine, each.execution, each.outcome or "none"] += each.runs
        runs = GaugeMetricFamily(
            "tickover_runs", "Runs that have ended, as the store has them.", labels=("routine", "execution", "outcome")
        )
        for labels, number in ends.items():
            runs.add_metric(labels, number)
        waiting = GaugeMetricFamily("tickover_runs_live", "Runs that have not ended.", labels=("execution",))
        for (_, execution), number in live.items():
            waiting.add_metric((execution,), number)
        return runs, waiting
