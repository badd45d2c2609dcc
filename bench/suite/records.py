"""Record batches in Python, as coordinators and tools build and read them."""

from __future__ import annotations

from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch, iter_batches

from .stage import batch_of


class Records:
    params = (1, 100, 1000)
    param_names = ("records",)

    def setup(self, records: int) -> None:
        self.batch = batch_of(records)
        self.records = [Record(value=b"x" * 100, timestamp=1) for _ in range(records)]

    def time_build(self, records: int) -> None:
        build_batch(self.records)

    def time_read(self, records: int) -> None:
        for batch in iter_batches(self.batch):
            for _ in batch.records():
                pass
