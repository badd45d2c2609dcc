"""Receiving frames and putting answers in order: requests that the network thread answers without touching a log.

The partition asked for does not exist, so an answer costs the parse, the lookup and the sending.
"""

from __future__ import annotations

from kafkax.cli.perf.bootstrap import Topic
from kafkax.cli.perf.workload import fetch_target

from .stage import TOPIC_ID, BrokerStage

REQUESTS = 5000


class Frames:
    params = ((4, 12, 17), (1, 6, 64))
    param_names = ("fetch_version", "connections")
    number = 1

    def setup(self, version: int, connections: int) -> None:
        self.stage = BrokerStage()
        nowhere = Topic("nowhere", TOPIC_ID, self.stage.topic.leaders)
        self.targets = [[fetch_target(nowhere, 9, version=version, first=0)] for _ in range(connections)]
        self.time_requests(version, connections)

    def teardown(self, version: int, connections: int) -> None:
        self.stage.close()

    def time_requests(self, version: int, connections: int) -> None:
        self.stage.load(self.targets, 5, REQUESTS, refused=True)
