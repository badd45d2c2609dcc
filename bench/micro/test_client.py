"""Single calls of the clients' hot path, for pytest-benchmark: ``pytest bench/micro``."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from kafkax._core.accumulator import Accumulator
from kafkax._core.fetched import FetchedBatch
from kafkax._core.murmur2 import partition_for_key
from kafkax.cli.perf.workload import record_batch

HEADER = 61


def accumulator() -> Accumulator:
    """One whose topic is known; it takes what a benchmark gives without being emptied."""
    made = Accumulator(1 << 20, 10_000, 1 << 20, 1 << 30, 1 << 40, "murmur2_random")
    made.attach(lambda: None, lambda topic: None, lambda: None)
    made.produce("events", b"first", partition=0)
    made.topic_known("events", 6)
    return made


@pytest.mark.parametrize("key", [None, b"key-0123456789"])
def test_take_a_record(benchmark: BenchmarkFixture, key: bytes | None) -> None:
    taking, value = accumulator(), b"x" * 100
    # A fixed number of calls, since what is taken stays.
    benchmark.pedantic(taking.produce, ("events", value, key), rounds=2000, iterations=50)
    assert taking.outstanding > 1


def test_choose_a_partition(benchmark: BenchmarkFixture) -> None:
    assert 0 <= benchmark(partition_for_key, b"key-0123456789", 6) < 6


@pytest.mark.parametrize("records", [1, 100])
def test_read_a_fetched_batch(benchmark: BenchmarkFixture, records: int) -> None:
    batch = record_batch(records, 100)
    body = memoryview(batch)[HEADER:]

    def read() -> int:
        return FetchedBatch(batch, body, "events", 0, 0).take(records, [])

    assert benchmark(read) == records


@pytest.mark.parametrize("records", [1, 1000])
def test_lay_a_fetched_batch_out_in_columns(benchmark: BenchmarkFixture, records: int) -> None:
    batch = record_batch(records, 100)
    body = memoryview(batch)[HEADER:]
    assert benchmark(lambda: FetchedBatch(batch, body, "events", 0, 0).columns().rows) == records
