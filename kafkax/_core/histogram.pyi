"""A latency histogram with log-linear buckets: constant memory, one increment a value, percentiles to within 0.8 %."""

from __future__ import annotations

class Histogram:
    """Counts of non-negative int64 values (kafkax records nanoseconds); negative values count as 0."""

    def record(self, value: int) -> None:
        """Count one value."""

    def add(self, other: Histogram) -> None:
        """Count everything that ``other`` counted."""

    def percentile(self, percent: float) -> int:
        """The value that ``percent`` (0 to 100) of all values do not exceed, 0 when empty; raises ValueError out of range."""

    @property
    def count(self) -> int:
        """Values recorded."""

    @property
    def lowest(self) -> int:
        """The lowest value recorded, exactly; 0 when empty."""

    @property
    def highest(self) -> int:
        """The highest value recorded, exactly; 0 when empty."""

    @property
    def mean(self) -> float:
        """The arithmetic mean, 0.0 when empty."""
