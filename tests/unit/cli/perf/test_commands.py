"""``kafkax perf`` against the bare C server of ``bench/floor``, which checks every batch's checksum."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.brokers import FLOOR_TOPIC, Floor
from kafkax.cli.perf import command
from kafkax.cli.perf.bootstrap import Bootstrap
from kafkax.errors import ErrorCode, KafkaError

pytestmark = pytest.mark.skipif(shutil.which(os.environ.get("CC", "gcc").split()[0]) is None, reason="no C compiler")


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    broker = Floor(tmp_path)
    broker.start()
    yield broker
    broker.stop()


def perf(broker: Floor, name: str, *arguments: str, topic: str = FLOOR_TOPIC) -> Result:
    """Run ``kafkax perf NAME``."""
    options = [name, "--bootstrap-server", f"127.0.0.1:{broker.port}", "--topic", topic, *arguments]
    return CliRunner().invoke(command, options, catch_exceptions=True)


def report(result: Result) -> dict:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_what_is_produced_can_be_consumed(floor: Floor) -> None:
    made = report(perf(floor, "produce", "--num-records", "2000", "--batch-records", "50", "--format", "json"))
    read = report(perf(floor, "consume", "--num-records", "2000", "--format", "json"))
    assert (made["requests"], made["records"], made["errors"]) == (40, 2000, {})
    assert made["latency_ms"]["request"]["count"] == 40
    assert read["records"] == 2000
    assert read["bytes"] == sum(path.stat().st_size for path in floor.directory.glob(f"{FLOOR_TOPIC}-*.log"))


def test_partitions_get_even_shares_whatever_the_number_of_connections(floor: Floor) -> None:
    for connections in ("1", "4", "12"):
        perf(floor, "produce", "--num-records", "240", "--batch-records", "1", "--connections", connections, "--in-flight", "2")
    with Bootstrap(floor.address) as bootstrap:
        topic = bootstrap.topic(FLOOR_TOPIC)
        ends = [bootstrap.offset(topic, index, -1) for index in range(6)]
    assert sum(ends) == 720
    assert min(ends) >= 60


def test_throughput_is_held(floor: Floor) -> None:
    options = ("--throughput", "1000", "--batch-records", "10", "--num-records", "500")
    made = report(perf(floor, "produce", *options, "--format", "json"))
    assert made["records"] == 500
    assert made["seconds"] >= 0.49, "the last batch is due then; on a busy machine it may be late, but it is never early"


def test_a_duration_ends_it(floor: Floor) -> None:
    made = report(perf(floor, "produce", "--duration", "0.5", "--format", "json"))
    assert made["records"] > 0
    assert 0.5 <= made["seconds"] < 30


def test_several_fetches_in_flight_read_from_different_places(floor: Floor) -> None:
    perf(floor, "produce", "--num-records", "6000")
    options = ("--num-records", "20000", "--connections", "2", "--in-flight", "6", "--repeat", "--max-bytes", "20000")
    read = report(perf(floor, "consume", *options, "--format", "json"))
    assert read["records"] >= 20000
    assert read["errors"] == {}


def test_latency_and_end_to_end_report_percentiles(floor: Floor) -> None:
    latency = report(perf(floor, "latency", "--num-requests", "50", "--format", "json"))
    asked = report(perf(floor, "latency", "--num-requests", "50", "--request", "api-versions", "--format", "json"))
    through = report(perf(floor, "e2e", "--num-records", "50", "--rate", "1000", "--format", "json"))
    assert latency["latency_ms"]["request"]["count"] == asked["latency_ms"]["request"]["count"] == 50
    assert {name: values["count"] for name, values in through["latency_ms"].items()} == {"acknowledged": 50, "delivered": 50}
    delivered = through["latency_ms"]["delivered"]
    assert 0 < delivered["p50"] <= delivered["max"] <= 1000 * through["seconds"] + 1


def test_without_json_the_report_is_text(floor: Floor) -> None:
    result = perf(floor, "produce", "--num-records", "100", "--acks", "0")
    assert result.exit_code == 0
    assert "records_per_second" in result.output
    assert "P99.9" in result.output


def test_what_the_broker_cannot_do_is_refused_with_what_it_can(floor: Floor) -> None:
    version = perf(floor, "produce", "--version", "13")
    assert version.exit_code == 2
    assert "Produce version 13 is refused; 3 to 7 is allowed" in version.output
    assert perf(floor, "produce", "--idempotent", "--acks", "1").exit_code == 2


def test_a_broker_that_is_not_there_is_named() -> None:
    result = CliRunner().invoke(command, ["latency", "--bootstrap-server", "127.0.0.1:1", "--topic", "t"])
    assert isinstance(result.exception, ConnectionError)
    assert "127.0.0.1:1" in str(result.exception)


@pytest.mark.parametrize("address", ["nowhere", "host:", ":9092", "host:99999", "host:x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    result = CliRunner().invoke(command, ["latency", "--bootstrap-server", address, "--topic", "t"])
    assert result.exit_code == 2
    assert "is not host:port" in result.output


def test_a_topic_that_exists_is_an_error_of_its_own(floor: Floor) -> None:
    with Bootstrap(floor.address) as bootstrap, pytest.raises(KafkaError) as caught:
        bootstrap.create_topic("another", 1)
    assert caught.value.code == ErrorCode.TOPIC_ALREADY_EXISTS
