"""What a producer's callers fill: the bytes that leave are the records that came, in order, whatever the callers give."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkax._core.accumulator import Accumulator
from kafkax._core.message import Message
from kafkax._core.murmur2 import partition_for_key
from kafkax._core.produced import ProducedBatch
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.compression import compress
from kafkax.protocol.records import iter_batches

few = settings(max_examples=max(settings().max_examples // 4, 25))
blobs = st.none() | st.binary(max_size=400)
names = st.text(st.characters(codec="utf-8"), max_size=8)
headers = st.none() | st.lists(st.tuples(names, blobs), max_size=3)
records = st.lists(st.tuples(blobs, blobs, headers, st.integers(1, 1 << 50)), min_size=1, max_size=40)


def made(*, size: int = 500, count: int = 10, partitioner: str = "murmur2_random", most: int = 1000) -> Accumulator:
    accumulator = Accumulator(size, count, 1000, most, 1 << 20, partitioner)
    accumulator.attach(lambda: None, lambda topic: None, lambda: None)
    accumulator.hurry = lambda: None
    return accumulator


def drain(accumulator: Accumulator) -> dict[int, list[ProducedBatch]]:
    found: dict[int, list[ProducedBatch]] = {}
    for queue in accumulator.active:
        while (batch := accumulator.take(queue, True)) is not None:
            found.setdefault(queue.partition, []).append(batch)
    accumulator.settle()
    return found


def decoded(batch: ProducedBatch, codec: str = "none") -> list[Any]:
    number = ("none", "gzip", "snappy", "lz4", "zstd").index(codec)
    batch.seal(number, compress(codec, batch.records(), None) if number else None, False)
    batch.number(7, 1, 5)
    (one,) = iter_batches(bytes(batch.wire()))
    one.check()
    assert (one.producer_id, one.producer_epoch, one.base_sequence, one.count) == (7, 1, 5, batch.count)
    return [(each.key, each.value, list(each.headers), each.timestamp) for each in one.records()]


@few
@given(records, st.sampled_from(["none", "snappy", "zstd"]), st.booleans())
def test_what_leaves_is_what_came(given_records: list[Any], codec: str, known: bool) -> None:
    accumulator = made()
    if known:
        accumulator.produce("t", b"first", partition=0)
        accumulator.topic_known("t", 1)
        drain(accumulator)
    for key, value, pairs, timestamp in given_records:
        accumulator.produce("t", value, key, headers=pairs, timestamp=timestamp)
    accumulator.topic_known("t", 1)
    batches = drain(accumulator)[0]
    assert all(batch.count <= 10 for batch in batches)
    expected = [(key, value, list(pairs or ()), timestamp) for key, value, pairs, timestamp in given_records]
    assert [row for batch in batches for row in decoded(batch, codec)] == expected
    assert accumulator.outstanding == len(given_records) + known


def test_keys_choose_partitions_also_when_the_topic_becomes_known_late() -> None:
    accumulator = made(count=1000, size=100_000)
    for number in range(50):
        accumulator.produce("t", b"%d" % number, b"k%d" % number)
    accumulator.topic_known("t", 3)
    for number in range(50, 100):
        accumulator.produce("t", b"%d" % number, b"k%d" % number)
    found = drain(accumulator)
    for partition in range(3):
        values = [row[1] for batch in found[partition] for row in decoded(batch)]
        assert values == [b"%d" % n for n in range(100) if partition_for_key(b"k%d" % n, 3) == partition]


def test_callbacks_follow_their_records() -> None:
    accumulator = made(count=1000, size=100_000)
    told: list[Any] = []

    def one(error: Any, message: Any) -> None:
        told.append((error, message.offset(), message.key(), message.value()))

    for number in range(6):
        accumulator.produce("t", b"%d" % number, b"k", on_delivery=one if number % 2 else None)
    accumulator.topic_known("t", 1)
    (batch,) = drain(accumulator)[0]
    decoded(batch, "zstd")
    batch.base_offset = 100
    assert batch.wanted
    assert batch.serve() == 6
    assert told == [(None, 100 + number, b"k", b"%d" % number) for number in (1, 3, 5)]
    assert not batch.wanted


@pytest.mark.parametrize("failed", [False, True])
def test_a_message_that_a_callback_keeps_stays_as_it_is(failed: bool) -> None:
    accumulator = made(count=1000, size=100_000)
    kept: list[Message] = []
    told: list[tuple[Any, ...]] = []

    def keeps_every_third(error: Any, message: Message) -> None:
        told.append((message.offset(), message.key(), message.value(), message.headers(), message.timestamp(), message.error()))
        if len(told) % 3 == 0:
            kept.append(message)

    for number in range(20):
        pairs = {"h": b"%d" % number} if number % 2 else None
        accumulator.produce("t", b"v%d" % number, b"k%d" % number, -1, keeps_every_third, 1000 + number, pairs)
    accumulator.topic_known("t", 1)
    (batch,) = drain(accumulator)[0]
    decoded(batch)
    error = KafkaError(ErrorCode.INVALID_RECORD) if failed else None
    batch.error, batch.base_offset = error, -1 if failed else 100
    assert batch.serve() == 20
    assert told == [
        (None if failed else 100 + n, b"k%d" % n, b"v%d" % n, [("h", b"%d" % n)] if n % 2 else None, (1, 1000 + n), error)
        for n in range(20)
    ]
    del batch, accumulator
    seen = [(each.offset(), each.key(), each.value(), each.headers(), each.timestamp(), each.error()) for each in kept]
    assert seen == told[2::3]


def test_deliveries_find_their_records_after_compression() -> None:
    accumulator = made(count=1000, size=100_000)
    before = [accumulator.deliver("t", b"%d" % number) for number in range(3)]
    accumulator.topic_known("t", 1)
    after = [accumulator.deliver("t", b"%d" % number) for number in range(3, 6)]
    (batch,) = drain(accumulator)[0]
    decoded(batch, "gzip")
    batch.base_offset = 40
    assert not before[0].done()
    batch.settle(None)
    assert [(each.result().offset(), each.result().value()) for each in before + after] == [(40 + n, b"%d" % n) for n in range(6)]


def test_deliveries_of_a_batch_that_failed_have_its_error() -> None:
    accumulator = made()
    delivery = accumulator.deliver("t", b"x")
    (batch,) = accumulator.topic_failed("t", KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
    batch.settle(None)
    with pytest.raises(KafkaError):
        delivery.result()
    assert delivery.message().value() == b"x"


def test_limits() -> None:
    accumulator = made(most=2)
    with pytest.raises(KafkaError) as error:
        accumulator.produce("t", b"x" * 1000)
    assert error.value.code is ErrorCode.MESSAGE_TOO_LARGE
    accumulator.produce("t", b"x")
    accumulator.produce("t", b"x")
    with pytest.raises(BufferError):
        accumulator.produce("t", b"x")
    accumulator.done(1, 1)
    accumulator.produce("t", b"x")
    for wrong in (5, 1.5, object()):
        with pytest.raises(TypeError):
            accumulator.produce("t", wrong)  # type: ignore[arg-type]


def test_garbage_that_is_collected_in_the_midst_of_a_record_lets_nobody_take_half_of_it() -> None:
    accumulator = made(most=100_000)
    accumulator.produce("t", b"first", partition=0)
    accumulator.topic_known("t", 1)
    drain(accumulator)
    taken: list[ProducedBatch] = []
    within = False

    class Garbage:
        """Its finalizer does what another thread may do while a finalizer runs."""

        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            if not within:
                return
            for queue in accumulator.active:
                while (batch := accumulator.take(queue, True)) is not None:
                    taken.append(batch)

    before = gc.get_threshold()
    try:
        for number in range(3000):
            gc.set_threshold(1 + number % 11)
            Garbage()
            value, report = b"%d" % number, (lambda *_: None)
            within = True
            accumulator.produce("t", value, partition=0, on_delivery=report)
            within = False
    finally:
        gc.set_threshold(*before)
        gc.collect()
    taken += [batch for batches in drain(accumulator).values() for batch in batches]
    assert len({id(batch) for batch in taken}) == len(taken)
    assert [int(value) for batch in taken for _, value, _, _ in decoded(batch)] == list(range(3000))
