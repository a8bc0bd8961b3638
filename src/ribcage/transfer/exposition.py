"""The guard's numbers in the text format of Prometheus. The table is the reviewed list of names and labels.

The names stand in `docs/operations.md` too, which a test compares. Labels come from the closed lists of `Metrics`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from ribcage.guard.protocol import Histogram, Metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "ribcage_"
_Kind = Literal["counter", "gauge", "histogram"]

# (name, kind, label or "", field of `Metrics`, what it tells)
TABLE: Final[tuple[tuple[str, _Kind, str, str, str], ...]] = (
    ("uptime_seconds", "gauge", "", "uptime_seconds", "since the guard started"),
    ("admissions", "counter", "outcome", "admissions", "sealing keys given; `held`: the instance is here already"),
    ("instances", "counter", "outcome", "instances", "instances committed; `parked` as conflicts"),
    ("stored_bytes", "counter", "", "stored_bytes", "bytes of committed instances"),
    ("disclosures", "counter", "view", "disclosures", "disclosures allowed"),
    ("disclosures_refused", "counter", "reason", "disclosures_refused", "disclosures refused"),
    ("disclosures_closed", "counter", "outcome", "disclosures_closed", "disclosures ended; `cut` by a revocation"),
    ("queries", "counter", "outcome", "queries", "queries"),
    ("log_ins", "counter", "outcome", "log_ins", "passwords tried"),
    ("second_factors", "counter", "outcome", "second_factors", "codes tried"),
    ("refusals", "counter", "reason", "refusals", "refusals of calls of every kind"),
    ("connections_refused", "counter", "cause", "connections_refused", "peers turned away, reported each minute"),
    ("revocations", "counter", "", "revocations", "grants revoked, objections made, persons or devices suspended"),
    ("live_disclosures", "gauge", "", "live_disclosures", "disclosures open now"),
    ("commit_entries", "histogram", "", "commit_entries", "log entries made durable together"),
    ("commit_seconds", "histogram", "", "commit_seconds", "COMMIT with its fsync"),
    ("log_entries", "gauge", "", "log_entries", "size of the log"),
    ("log_unsigned_entries", "gauge", "", "log_unsigned_entries", "entries after the newest checkpoint"),
    ("checkpoint_age_seconds", "gauge", "", "checkpoint_age_seconds", "since the newest checkpoint; -1 before it"),
    ("ledger_height", "gauge", "", "ledger_height", "transactions on the ledger"),
    ("ledger_behind", "gauge", "", "ledger_behind", "1: it lacks a change of rights, nothing is disclosed"),
    ("disk_free_bytes", "gauge", "", "disk_free_bytes", "least room of the home's file systems"),
    ("disk_stop_bytes", "gauge", "", "disk_stop_bytes", "the watermark"),
    ("storing_stopped", "gauge", "", "storing_stopped", "1: below the watermark, nothing is stored"),
    ("clock_off_seconds", "gauge", "", "clock_off_seconds", "clock against the kernel's count"),
    ("clock_stepped", "gauge", "", "clock_stepped", "1: the clock was stepped, nothing is disclosed"),
    ("witness_trusted", "gauge", "", "witness_trusted", "1: the archive has a witness"),
    ("witness_closed", "gauge", "", "witness_closed", "1: closed because of the witness"),
    ("witness_silent_seconds", "gauge", "", "witness_silent_seconds", "how long entries lack a cosignature"),
    ("queue_waiting", "gauge", "", "queue_waiting", "jobs of the sending queue that wait or are being sent"),
    ("queue_failed", "gauge", "", "queue_failed", "jobs that wait for the operator"),
    ("queue_oldest_seconds", "gauge", "", "queue_oldest_seconds", "age of the oldest job that has not ended"),
)  # fmt: skip


def expose(metrics: Metrics) -> bytes:
    """The whole text."""
    return generate_latest(_Families(metrics))


class _Families(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for name, kind, label, field, text in TABLE:
            yield _MAKE[kind](_PREFIX + name, text, label, getattr(self._metrics, field))


def _counter(name: str, text: str, label: str, value: int | Mapping[str, int]) -> Metric:
    if not isinstance(value, Mapping):
        return CounterMetricFamily(name, text, value=value)
    family = CounterMetricFamily(name, text, labels=(label,))
    for each, count in value.items():
        family.add_metric((each,), count)
    return family


def _gauge(name: str, text: str, _: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _histogram(name: str, text: str, _: str, value: Histogram) -> Metric:
    bounds = [*(repr(float(each)) for each in value.bounds), "+Inf"]
    running = itertools.accumulate(value.counts)
    buckets = list(zip(bounds, running, strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=value.total)


_MAKE: Final[Mapping[_Kind, Callable[[str, str, str, Any], Metric]]] = {
    "counter": _counter,
    "gauge": _gauge,
    "histogram": _histogram,
}
