"""The clients' encoding and decoding: records into batches as a producer fills them, and fetched batches into records."""

from __future__ import annotations

from kafkax._core.accumulator import Accumulator
from kafkax._core.fetched import FetchedBatch

from .stage import RECORD_SIZE, batch_of

HEADER = 61
PRODUCED = 10_000


class Encode:
    """``PRODUCED`` records through the accumulator, and out of it as batches of at most so many records."""

    params = (1, 100, 1000)
    param_names = ("batch_records",)

    def setup(self, batch_records: int) -> None:
        self.value = b"x" * RECORD_SIZE

    def time_produce(self, batch_records: int) -> None:
        accumulator = Accumulator(1 << 20, batch_records, 1 << 20, 1 << 20, 1 << 30, "murmur2_random")
        accumulator.attach(lambda: None, lambda topic: None, lambda: None)
        produce, value = accumulator.produce, self.value
        produce("events", value)
        accumulator.topic_known("events", 1)
        for _ in range(PRODUCED - 1):
            produce("events", value)
        for queue in accumulator.active:
            while (batch := accumulator.take(queue, True)) is not None:
                batch.seal(0, None, False)
                batch.wire()

    def peakmem_produce(self, batch_records: int) -> None:
        self.time_produce(batch_records)


class Decode:
    """One fetched batch, record by record, as lists, and as columns for Arrow."""

    params = (1, 100, 1000)
    param_names = ("records",)

    def setup(self, records: int) -> None:
        self.batch = batch_of(records)
        self.body = memoryview(self.batch)[HEADER:]

    def fetched(self) -> FetchedBatch:
        return FetchedBatch(self.batch, self.body, "events", 0, 0)

    def time_records(self, records: int) -> None:
        following = self.fetched().next
        while (message := following()) is not None:
            message.value()

    def time_lists(self, records: int) -> None:
        assert self.fetched().take(records, []) == records

    def time_columns(self, records: int) -> None:
        self.fetched().columns()

    def peakmem_lists(self, records: int) -> None:
        self.time_lists(records)
