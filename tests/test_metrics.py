"""gateway.metrics: the text that Prometheus scrapes, read by its own parser."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.metrics import GAUGES, Metrics
from gateway.traffic.record import Record
from translations.messages import Kind, Remark

CALL = Record(1.0, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<heartbeat/>")
ANSWER = CALL._replace(direction=">", kind="result", outcome="ok", latency=0.02)
REMARK = Remark(Kind.LOST, "iccid", "not in 1.2", "drop")
Gauges = Mapping[str, Mapping[tuple[str, ...], float]]


def scraped(records: Iterable[Record], gauges: Gauges | None = None) -> list[Sample]:
    metrics = Metrics(lambda: gauges or {})
    for record in records:
        metrics(record)
    return [s for family in text_string_to_metric_families(metrics.text().decode()) for s in family.samples]


def values(samples: Iterable[Sample], name: str, label: str) -> dict[str, float]:
    return {s.labels[label]: s.value for s in samples if s.name == name}


def test_messages_are_counted_by_what_they_are() -> None:
    found = [s for s in scraped([CALL, CALL, ANSWER]) if s.name == "ocpp_gateway_messages_total"]
    labels = {"leg": "charger", "direction": "in", "wire": "soap", "kind": "call", "action": "Heartbeat", "outcome": ""}
    assert [(s.labels, s.value) for s in found] == [
        (labels, 2),
        (labels | {"direction": "out", "kind": "result", "outcome": "ok"}, 1),
    ]


def test_remarks_are_counted_by_kind() -> None:
    repaired = Remark(Kind.REPAIRED, "", "none given", "quirks.no-id")
    samples = scraped([CALL._replace(remarks=(REMARK, REMARK)), CALL._replace(remarks=(repaired,))])
    assert values(samples, "ocpp_gateway_remarks_total", "kind") == {"lost": 2, "repaired": 1}


def test_an_answer_is_timed_into_every_bucket_that_holds_it() -> None:
    samples = scraped(ANSWER._replace(latency=seconds) for seconds in (0.001, 0.005, 0.02, 20, 60))
    buckets = values(samples, "ocpp_gateway_latency_seconds_bucket", "le")
    assert (buckets["0.005"], buckets["0.01"], buckets["0.025"], buckets["10.0"]) == (2, 2, 3, 3)
    assert (buckets["30.0"], buckets["+Inf"]) == (4, 5)


def test_latencies_are_summed_and_counted() -> None:
    samples = scraped([ANSWER, ANSWER._replace(latency=1.5)])
    assert values(samples, "ocpp_gateway_latency_seconds_count", "action") == {"Heartbeat": 2}
    assert values(samples, "ocpp_gateway_latency_seconds_sum", "action") == {"Heartbeat": 1.52}


def test_a_call_is_not_timed() -> None:
    assert values(scraped([CALL]), "ocpp_gateway_latency_seconds_count", "action") == {}


def test_actions_that_nobody_knows_are_one_value() -> None:
    hostile = [CALL._replace(action=f'{n}"\n}} 1') for n in range(100)]
    found = values(scraped(hostile), "ocpp_gateway_messages_total", "action")
    assert found == {"other": 100}


def test_latencies_of_actions_that_nobody_knows_are_one_value() -> None:
    hostile = [ANSWER._replace(action=f"Boot{n}") for n in range(100)]
    assert values(scraped(hostile), "ocpp_gateway_latency_seconds_count", "action") == {"other": 100}


def test_who_calls_and_with_which_ids_is_no_label() -> None:
    samples = scraped(CALL._replace(charger=f"CP-{n}", message_id=f"m-{n}", peer=f"192.0.2.{n}:1") for n in range(50))
    assert values(samples, "ocpp_gateway_messages_total", "action") == {"Heartbeat": 50}


def test_a_message_without_an_action_counts() -> None:
    refused = CALL._replace(kind="refused", action="", outcome="ProtocolError")
    assert values(scraped([refused]), "ocpp_gateway_messages_total", "action") == {"": 1}


def test_gauges_are_read_when_they_are_asked_for() -> None:
    gauges: Gauges = {"ocpp_gateway_chargers": {("soap", "here"): 3, ("json", "linked"): 2}}
    assert values(scraped([], gauges), "ocpp_gateway_chargers", "wire") == {"json": 2, "soap": 3}


def test_every_gauge_can_be_told() -> None:
    gauges: Gauges = {name: {("x",) * len(labels): 7} for name, (_, labels) in GAUGES.items()}
    assert {s.name: s.value for s in scraped([], gauges)} == dict.fromkeys(GAUGES, 7)


def test_a_value_of_a_label_cannot_break_the_text() -> None:
    gauges: Gauges = {"ocpp_gateway_backend_queue": {('a"} 1\n\\b',): 1}}
    assert values(scraped([], gauges), "ocpp_gateway_backend_queue", "backend") == {'a"} 1\n\\b': 1}


def test_letters_are_told_by_backend() -> None:
    gauges: Gauges = {
        "ocpp_gateway_letters": {("csms", "live"): 3, ("csms", "dead"): 1},
        "ocpp_gateway_letters_oldest_seconds": {("csms",): 90.5},
        "ocpp_gateway_letters_dead_total": {("csms", "refused"): 2},
        "ocpp_gateway_moves_total": {("csms", "standby"): 4},
    }
    samples = scraped([], gauges)
    assert values(samples, "ocpp_gateway_letters", "state") == {"live": 3, "dead": 1}
    assert values(samples, "ocpp_gateway_letters_oldest_seconds", "backend") == {"csms": 90.5}
    assert values(samples, "ocpp_gateway_letters_dead_total", "reason") == {"refused": 2}
    assert [s.labels for s in samples if s.name == "ocpp_gateway_moves_total"] == [{"from": "csms", "to": "standby"}]


def test_gauges_are_asked_for_once_in_a_scrape() -> None:
    asked: list[int] = []

    def gauges() -> Gauges:
        asked.append(1)
        return {}

    metrics = Metrics(gauges)
    asked.clear()
    metrics.text()
    assert len(asked) == 1


def test_late_and_double_answers_are_outcomes() -> None:
    samples = scraped([ANSWER._replace(outcome=fate) for fate in ("late", "double", "late")])
    assert values(samples, "ocpp_gateway_messages_total", "outcome") == {"late": 2, "double": 1}


def test_every_metric_is_in_the_reference() -> None:
    reference = (Path(__file__).parents[1] / "docs/reference/api.md").read_text()
    assert [name for name in GAUGES if f"`{name}`" not in reference] == []
