"""Counts and latencies, kept as plain numbers on the hot path and turned into Prometheus families when they are scraped."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.traffic.record import Record
from translations.deltas import known_actions
from translations.messages import Side

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds

Gauges = Callable[[], Mapping[str, Mapping[tuple[str, ...], float]]]
"""Current values by metric name, then by label values."""


class _Latency:
    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0.0


class Metrics(Collector):
    """A tap that counts. Labels have bounded values: an action that OCPP 1.6 does not know is `other`."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges
        self._actions = known_actions(Side.CENTRAL_SYSTEM) | known_actions(Side.CHARGE_POINT) | {""}
        self._messages: Counter[tuple[str, str, str, str, str, str]] = Counter()
        self._remarks: Counter[str] = Counter()
        self._latencies: dict[tuple[str, str], _Latency] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def __call__(self, record: Record) -> None:
        action = record.action if record.action in self._actions else "other"
        self._messages[record.leg, record.direction, record.wire, record.kind, action, record.outcome] += 1
        for remark in record.remarks:
            self._remarks[remark.kind] += 1
        if record.latency is not None:
            found = self._latencies.get((record.leg, action))
            if found is None:
                found = self._latencies[record.leg, action] = _Latency()
            found.buckets[bisect_left(BOUNDS, record.latency)] += 1
            found.total += record.latency

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What the registry asks at each scrape."""
        yield self._count()
        yield self._timed()
        remarks = CounterMetricFamily(
            "ocpp_gateway_remarks", "Steps that lost, changed, assumed or repaired something.", labels=["kind"]
        )
        for kind, count in sorted(self._remarks.items()):
            remarks.add_metric([kind], count)
        yield remarks
        gauges = self._gauges()
        for name, (text, labels) in GAUGES.items():
            yield _family(name, text, labels, gauges.get(name, {}))

    def _count(self) -> Metric:
        labels = ["leg", "direction", "wire", "kind", "action", "outcome"]
        family = CounterMetricFamily("ocpp_gateway_messages", "Messages that crossed a wire.", labels=labels)
        for key, count in sorted(self._messages.items()):
            leg, direction, *rest = key
            family.add_metric([leg, "in" if direction == "<" else "out", *rest], count)
        return family

    def _timed(self) -> Metric:
        family = HistogramMetricFamily("ocpp_gateway_latency_seconds", "From a call to its answer.", labels=["leg", "action"])
        for (leg, action), latency in sorted(self._latencies.items()):
            family.add_metric([leg, action], list(_cumulative(latency.buckets)), latency.total)
        return family


# Name of each gauge or counter that is read when it is asked for: what it says, and its labels.
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "ocpp_gateway_chargers": ("Chargers by presence.", ("wire", "state")),
    "ocpp_gateway_backend_sessions": ("Sessions with backends by state.", ("backend", "state")),
    "ocpp_gateway_backend_queue": ("Calls under way to or waiting for a backend.", ("backend",)),
    "ocpp_gateway_listener_dropped_total": ("Calls that a listening backend never heard.", ("backend",)),
    "ocpp_gateway_letters": ("Messages stored for a backend: live ones wait or are in flight.", ("backend", "state")),
    "ocpp_gateway_letters_in_flight": ("Stored messages that a backend is being told.", ("backend",)),
    "ocpp_gateway_letters_oldest_seconds": ("Age of the oldest message that waits for a backend.", ("backend",)),
    "ocpp_gateway_letters_delivered_total": ("Stored messages that a backend has heard.", ("backend",)),
    "ocpp_gateway_letters_retried_total": ("Stored messages told again after an error.", ("backend",)),
    "ocpp_gateway_letters_repeated_total": ("Stored messages told again that may have been heard.", ("backend",)),
    "ocpp_gateway_letters_dead_total": ("Stored messages that were given up.", ("backend", "reason")),
    "ocpp_gateway_letters_dropped_total": ("Stored messages that are gone unheard.", ("backend", "reason")),
    "ocpp_gateway_moves_total": ("Chargers that another backend answers from then on.", ("from", "to")),
    "ocpp_gateway_transactions": ("Transactions that are open.", ()),
    "ocpp_gateway_unknown_transactions_total": ("Messages of transactions that a backend does not know: not told.", ("backend",)),
    "ocpp_gateway_refused_total": ("Visitors that were not let in.", ("reason",)),
    "ocpp_gateway_connections": ("Connections of chargers.", ()),
    "ocpp_gateway_connections_refused_total": ("Connections of chargers beyond the bounds.", ()),
    "ocpp_gateway_tls_handshakes_failed_total": ("TLS handshakes that came to nothing.", ()),
    "ocpp_gateway_expert_findings_total": ("What the expert rules found.", ("rule", "severity")),
    "ocpp_gateway_traffic_queue": ("Records that wait to be written to the traffic log.", ()),
    "ocpp_gateway_traffic_shed_total": ("Records that were not written to the traffic log.", ()),
}


def _family(name: str, text: str, labels: Iterable[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    family = kind(name.removesuffix("_total"), text, labels=list(labels))
    for key, value in sorted(values.items()):
        family.add_metric(list(key), value)
    return family


def _cumulative(buckets: list[int]) -> Iterator[tuple[str, float]]:
    count = 0
    for bound, inside in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
        count += inside
        yield bound, count
