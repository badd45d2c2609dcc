"""Metrics as Prometheus reads them."""

from __future__ import annotations

from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kafkax._core.reactor import Reactor
from kafkax.broker import exposition
from kafkax.broker.exposition import broker_lines, client_lines
from kafkax.broker.telemetry import TelemetryClient
from kafkax.net.settings import ReactorSettings
from kafkax.protocol.otlp import Measurement

ONE, OTHER = UUID(int=1), UUID(int=2)
CLIENT = TelemetryClient('app "1"\\\n', "librdkafka", "2.6", "127.0.0.1", "5")
WHO = {
    "client_instance_id": str(ONE),
    "client_id": 'app "1"\\\n',
    "client_software_name": "librdkafka",
    "client_software_version": "2.6",
}

Read = dict[str, tuple[str, list[tuple[dict[str, str], float]]]]


def read(lines: object) -> Read:
    text = "\n".join(lines) + "\n"  # type: ignore[arg-type]
    found = {}
    for family in text_string_to_metric_families(text):
        found[family.name] = (family.type, [(sample.labels, sample.value) for sample in family.samples])
    return found


def test_what_clients_push_is_told_with_who_they_are() -> None:
    measured = [
        Measurement("org.apache.kafka.consumer.poll.latency", (("node.id", "3"), ("9", "x")), 1.5, False),
        Measurement("org.apache.kafka.consumer.records", (), 7.0, True),
    ]
    found = read(client_lines([(ONE, CLIENT, measured), (OTHER, CLIENT._replace(client_id="b"), measured[1:])]))
    kind, samples = found["kafkax_client_org_apache_kafka_consumer_poll_latency"]
    assert (kind, samples) == ("gauge", [({**WHO, "node_id": "3", "label_9": "x"}, 1.5)])
    kind, samples = found["kafkax_client_org_apache_kafka_consumer_records"]
    assert kind == "counter"
    assert [labels["client_instance_id"] for labels, _ in samples] == [str(ONE), str(OTHER)]


def test_a_series_is_told_once_with_its_last_value() -> None:
    measured = [Measurement("m", (("a", "x"),), value, False) for value in (1.0, float("nan"), float("-inf"))]
    assert read(client_lines([(ONE, CLIENT, measured)]))["kafkax_client_m"] == ("gauge", [({**WHO, "a": "x"}, float("-inf"))])


def test_no_more_than_some_series_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "_MOST_SERIES", 2)
    found = read(client_lines([(ONE, CLIENT, [Measurement(name, (), 1.0, False) for name in "abcde"])]))
    assert sorted(found) == ["kafkax_client_a", "kafkax_client_b", "kafkax_client_series_left_out"]
    assert found["kafkax_client_series_left_out"][1] == [({}, 3.0)]


def test_what_the_network_threads_count() -> None:
    counters = {**Reactor(None, ReactorSettings()).counters(), "requests": {3: 5}, "bytes_in": 7, "connections": 2}
    found = read(broker_lines(counters))
    assert found["kafkax_network_requests"] == ("counter", [({"api": "Metadata"}, 5.0)])
    assert found["kafkax_network_bytes_in"] == ("counter", [({}, 7.0)])
    assert found["kafkax_network_connections"] == ("gauge", [({}, 2.0)])
    assert {labels["reason"] for labels, _ in found["kafkax_network_closed"][1]} >= {"closed by peer"}
