"""Fetch from file to socket, out of the page cache: curves over answer sizes, connections and batch sizes."""

from __future__ import annotations

from kafkax.cli.perf.workload import fetch_target

from .stage import BrokerStage, batch_of

PARTITIONS = 6
FILLED = 48 << 20
REQUESTS = 300


class Fetch:
    number = 1
    timeout = 120

    def prepare(self, records: int, connections: int, max_bytes: int, partitions: int = PARTITIONS) -> None:
        self.stage = BrokerStage(partitions)
        batch = batch_of(records)
        for log in self.stage.logs:
            for _ in range(FILLED // partitions // len(batch)):
                log.append(batch)
        self.targets = [
            [
                fetch_target(self.stage.topic, index, version=17, max_bytes=max_bytes, first=0)
                for index in range(connection % partitions, partitions, connections)
            ]
            for connection in range(connections)
        ]
        self.fetch()

    def fetch(self) -> None:
        self.stage.load(self.targets, 1, REQUESTS)

    def teardown(self, *params: int) -> None:
        self.stage.close()


class BySize(Fetch):
    params = (4 << 10, 64 << 10, 1 << 20)
    param_names = ("max_bytes",)

    def setup(self, max_bytes: int) -> None:
        self.prepare(100, PARTITIONS, max_bytes)

    def time_fetch(self, max_bytes: int) -> None:
        self.fetch()

    def peakmem_fetch(self, max_bytes: int) -> None:
        self.fetch()


class ByConnections(Fetch):
    params = (1, 6, 64)
    param_names = ("connections",)

    def setup(self, connections: int) -> None:
        self.prepare(100, connections, 64 << 10)

    def time_fetch(self, connections: int) -> None:
        self.fetch()


class ByPartitions(Fetch):
    """The same bytes over more partitions, read in turn."""

    params = (1, 100, 1000)
    param_names = ("partitions",)

    def setup(self, partitions: int) -> None:
        self.prepare(100, 6, 4 << 10, partitions)

    def time_fetch(self, partitions: int) -> None:
        self.fetch()


class OneRecordBatches(Fetch):
    """What was written one record a batch."""

    def setup(self) -> None:
        self.prepare(1, PARTITIONS, 64 << 10)

    def time_fetch(self) -> None:
        self.fetch()
