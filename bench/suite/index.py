"""Finding an offset or a time: curves over the number of segments and the age of what is looked for."""

from __future__ import annotations

import random

from .stage import LogStage

BATCHES_PER_SEGMENT = 90


class Lookup:
    """Reads at random offsets, at the tail, and by timestamp."""

    params = (1, 10, 100)
    param_names = ("segments",)

    def setup(self, segments: int) -> None:
        self.stage = LogStage(segment_bytes=1 << 20)
        self.stage.fill(segments * BATCHES_PER_SEGMENT, 100)
        end = self.stage.log.log_end_offset
        generator = random.Random(1)
        self.offsets = [generator.randrange(end) for _ in range(100)]
        self.tail = end - 50
        self.timestamp = self.stage.log.segments()[0].max_timestamp

    def teardown(self, segments: int) -> None:
        self.stage.close()

    def time_random_offsets(self, segments: int) -> None:
        for offset in self.offsets:
            self.stage.log.read(offset, 1 << 16)

    def time_tail(self, segments: int) -> None:
        for _ in range(100):
            self.stage.log.read(self.tail, 1 << 16)

    def time_timestamp(self, segments: int) -> None:
        self.stage.log.offset_for_timestamp(self.timestamp)
