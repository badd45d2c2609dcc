"""Single calls into the core, for pytest-benchmark: ``pytest bench/micro``."""

from __future__ import annotations

import random

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from kafkax._core.crc32c import crc32c
from kafkax._core.histogram import Histogram
from kafkax._core.load_answers import parse_answer
from kafkax.cli.perf.workload import record_batch
from kafkax.protocol.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData


@pytest.mark.parametrize("size", [100, 11 << 10, 1 << 20])
def test_checksum(benchmark: BenchmarkFixture, size: int) -> None:
    benchmark(crc32c, random.Random(1).randbytes(size))


def test_record_a_latency(benchmark: BenchmarkFixture) -> None:
    benchmark(Histogram().record, 123_456)


def test_read_a_fetch_answer(benchmark: BenchmarkFixture) -> None:
    data = PartitionData(partition_index=0, high_watermark=100, records=record_batch(100, 100))
    answer = FetchResponse(responses=[FetchableTopicResponse(topic="events", partitions=[data])])
    frame = answer.encode(11)
    assert benchmark(parse_answer, 1, 11, frame)[1] == 100
