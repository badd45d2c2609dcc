"""Appending to a log: validation, offsets, one write, index."""

from __future__ import annotations

from .stage import LogStage, batch_of

APPENDS = 200


class Append:
    """``APPENDS`` appends to a log that rolls as Kafka's does by default."""

    params = (1, 100, 1000)
    param_names = ("records",)
    number = 1

    def setup(self, records: int) -> None:
        self.batch = batch_of(records)
        self.stage = LogStage()

    def teardown(self, records: int) -> None:
        self.stage.close()

    def time_append(self, records: int) -> None:
        append, batch = self.stage.log.append, self.batch
        for _ in range(APPENDS):
            append(batch)

    def peakmem_append(self, records: int) -> None:
        self.time_append(records)


class AppendAcrossSegments:
    """The same with segments so small that appends roll them."""

    params = (1 << 16, 1 << 20)
    param_names = ("segment_bytes",)
    number = 1

    def setup(self, segment_bytes: int) -> None:
        self.batch = batch_of(100)
        self.stage = LogStage(segment_bytes=segment_bytes)

    def teardown(self, segment_bytes: int) -> None:
        self.stage.close()

    def time_append(self, segment_bytes: int) -> None:
        append, batch = self.stage.log.append, self.batch
        for _ in range(APPENDS):
            append(batch)
