"""Looking into a batch before it is appended: the header with its checksum, and each record."""

from __future__ import annotations

from kafkax._core.batch import read_header, validate_records
from kafkax._core.measure import walk_seconds

from .stage import batch_of


class Validate:
    params = (1, 100, 1000)
    param_names = ("records",)

    def setup(self, records: int) -> None:
        self.batch = batch_of(records)

    def time_header(self, records: int) -> None:
        read_header(self.batch)

    def time_records(self, records: int) -> None:
        validate_records(self.batch, need_key=False)

    def track_walk(self, records: int) -> float:
        """Nanoseconds a record."""
        return walk_seconds(self.batch, 1000) / 1000 / records * 1e9

    track_walk.unit = "ns"  # type: ignore[attr-defined]
