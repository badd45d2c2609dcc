"""What clients count: plain attributes, and a collector for ``prometheus_client``.

``prometheus_client.REGISTRY.register(consumer.metrics)`` exposes them; ``unregister`` it when the client is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["ConsumerMetrics", "ProducerMetrics"]

Key = tuple[str, int]


class _Metrics:
    prefix = ""
    counters: ClassVar[Mapping[str, str]] = MappingProxyType({})
    gauges: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        for name in self.counters:
            setattr(self, name, 0)

    def collect(self) -> Iterator[Metric]:
        """The metrics as ``prometheus_client`` wants them, labelled with ``client_id``."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, text in self.counters.items():
            counter = CounterMetricFamily(f"{self.prefix}_{name}", text, labels=["client_id"])
            counter.add_metric([self.client_id], getattr(self, name))
            yield counter
        for name, text in self.gauges.items():
            gauge = GaugeMetricFamily(f"{self.prefix}_{name}", text, labels=["client_id"])
            gauge.add_metric([self.client_id], getattr(self, name))
            yield gauge


class ProducerMetrics(_Metrics):
    """What a producer did.

    Attributes:
        records: records that were delivered.
        bytes: bytes of their batches before compression.
        batches: batches that were delivered.
        failed_records: records that failed for good.
        retries: batches that were sent again.
        queued_records, queued_bytes: what was taken and is not reported yet.
    """

    prefix = "kafkax_producer"
    counters: ClassVar[Mapping[str, str]] = {
        "records": "Records delivered.",
        "bytes": "Bytes of delivered batches before compression.",
        "batches": "Batches delivered.",
        "failed_records": "Records that failed for good.",
        "retries": "Batches sent again.",
    }
    gauges: ClassVar[Mapping[str, str]] = {
        "queued_records": "Records taken and not yet reported.",
        "queued_bytes": "Bytes of keys, values and headers taken and not yet reported.",
    }
    records: int
    bytes: int
    batches: int
    failed_records: int
    retries: int

    def __init__(self, client_id: str, queued: Callable[[], tuple[int, int]]) -> None:
        super().__init__(client_id)
        self._queued = queued

    @property
    def queued_records(self) -> int:
        """Records taken and not yet reported."""
        return self._queued()[0]

    @property
    def queued_bytes(self) -> int:
        """Their bytes of keys, values and headers."""
        return self._queued()[1]


class ConsumerMetrics(_Metrics):
    """What a consumer did, and how far behind it is.

    Attributes:
        records: records that were fetched.
        bytes: their bytes as they were fetched.
        fetches: answers to fetches that brought records.
        commits, failed_commits: partitions' offsets that were committed, or were not.
        rebalances: how often partitions were given to this consumer.
        lag: records between where the consumer stands and the end, by topic and partition, as last seen.
        total_lag: their sum.
        assigned_partitions: how many it has.
    """

    prefix = "kafkax_consumer"
    counters: ClassVar[Mapping[str, str]] = {
        "records": "Records fetched.",
        "bytes": "Bytes fetched.",
        "fetches": "Answers to fetches that brought records.",
        "commits": "Offsets of partitions committed.",
        "failed_commits": "Offsets of partitions whose commit failed.",
        "rebalances": "How often partitions were given to this consumer.",
    }
    gauges: ClassVar[Mapping[str, str]] = {
        "total_lag": "Records between where the consumer stands and the ends of its partitions.",
        "assigned_partitions": "Partitions that the consumer has.",
    }
    records: int
    bytes: int
    fetches: int
    commits: int
    failed_commits: int
    rebalances: int

    def __init__(self, client_id: str, lag: Callable[[], dict[Key, int]], assigned: Callable[[], int]) -> None:
        super().__init__(client_id)
        self._lag = lag
        self._assigned = assigned

    @property
    def lag(self) -> dict[Key, int]:
        """Records between where the consumer stands and the end, by topic and partition, as last seen."""
        return self._lag()

    @property
    def total_lag(self) -> int:
        """The sum of the lags of all partitions."""
        return sum(self.lag.values())

    @property
    def assigned_partitions(self) -> int:
        """How many partitions the consumer has."""
        return self._assigned()

    def collect(self) -> Iterator[Metric]:
        """The metrics as ``prometheus_client`` wants them; lag also by topic and partition."""
        from prometheus_client.core import GaugeMetricFamily

        yield from super().collect()
        text = "Records between where the consumer stands and the end of the partition."
        lag = GaugeMetricFamily(f"{self.prefix}_lag", text, labels=["client_id", "topic", "partition"])
        for (topic, partition), behind in self.lag.items():
            lag.add_metric([self.client_id, topic, str(partition)], behind)
        yield lag
