"""Produce from socket to file and back: curves over batch sizes, connections and partitions."""

from __future__ import annotations

from kafkax.cli.perf.workload import produce_target, spread

from .stage import BrokerStage, batch_of

BYTES = 20 << 20


class Produce:
    """One run of the load generator, of at most ``BYTES``; time for all of it."""

    number = 1
    timeout = 120

    def prepare(self, records: int, connections: int, partitions: int, in_flight: int = 5) -> None:
        self.stage = BrokerStage(partitions)
        batch = batch_of(records)
        self.in_flight, self.requests = in_flight, min(10_000, BYTES // len(batch))
        self.targets = [
            [produce_target(self.stage.topic, index, batch, records, version=11) for index in indexes]
            for indexes in spread(partitions, connections)
        ]
        self.produce()

    def produce(self) -> None:
        self.stage.load(self.targets, self.in_flight, self.requests)

    def teardown(self, *params: int) -> None:
        self.stage.close()


class ByBatch(Produce):
    params = (1, 10, 100, 1000)
    param_names = ("records",)

    def setup(self, records: int) -> None:
        self.prepare(records, 6, 6)

    def time_produce(self, records: int) -> None:
        self.produce()

    def peakmem_produce(self, records: int) -> None:
        self.produce()


class ByConnections(Produce):
    params = (1, 6, 64, 512)
    param_names = ("connections",)

    def setup(self, connections: int) -> None:
        self.prepare(1, connections, 6)

    def time_produce(self, connections: int) -> None:
        self.produce()


class ByPartitions(Produce):
    params = (1, 100, 1000)
    param_names = ("partitions",)

    def setup(self, partitions: int) -> None:
        self.prepare(1, 6, partitions)

    def time_produce(self, partitions: int) -> None:
        self.produce()


class OneInFlight(Produce):
    """One connection that waits for each answer: latency."""

    def setup(self) -> None:
        self.prepare(1, 1, 1, in_flight=1)

    def time_produce(self) -> None:
        self.produce()
