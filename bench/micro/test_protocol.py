"""Single calls of the codec and of record batches in Python, for pytest-benchmark: ``pytest bench/micro``."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from kafkax.cli.perf.workload import record_batch
from kafkax.protocol.headers import RequestHeader, request_header
from kafkax.protocol.messages.find_coordinator import FindCoordinatorRequest
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from kafkax.protocol.records import iter_batches

HEARTBEAT = HeartbeatRequest(group_id="group", generation_id=5, member_id="member-0123456789")


def test_parse_a_header(benchmark: BenchmarkFixture) -> None:
    frame = request_header(12, 4, 77, "client-1") + HEARTBEAT.encode(4)
    assert benchmark(RequestHeader.parse, frame)[0].correlation_id == 77


def test_encode_a_heartbeat(benchmark: BenchmarkFixture) -> None:
    benchmark(HEARTBEAT.encode, 4)


def test_decode_a_heartbeat(benchmark: BenchmarkFixture) -> None:
    assert benchmark(HeartbeatRequest.decode, HEARTBEAT.encode(4), 4).generation_id == 5


def test_encode_a_request_with_an_array(benchmark: BenchmarkFixture) -> None:
    request = FindCoordinatorRequest(key_type=0, coordinator_keys=[f"group-{number}" for number in range(20)])
    benchmark(request.encode, 6)


@pytest.mark.parametrize("records", [1, 100])
def test_read_a_batch(benchmark: BenchmarkFixture, records: int) -> None:
    data = record_batch(records, 100)

    def read() -> int:
        return sum(1 for batch in iter_batches(data) for _ in batch.records())

    assert benchmark(read) == records
