"""A broker that is killed or loses its power, over and over, while idempotent producers write and a consumer reads.

Each writer numbers its records, sends one batch at a time with acks=all and sends it again under the same sequence until it is
acknowledged, whatever happens to the broker in between.  So at any time a partition has to hold, in order and once each, every
number that was acknowledged, and then at most the one batch that is under way.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.ports import free_port
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from kafkax.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kafkax.protocol.messages.init_producer_id import InitProducerIdRequest
from kafkax.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch, iter_batches
from tests.compat.brokers import RunningBroker, start_broker
from tests.processes import freeze
from tests.system.wire import Wire

__all__ = ["Broker", "Campaign", "Writer", "produce_numbers", "rounds"]

_log = logging.getLogger(__name__)

TOPIC = "crash"
LIMIT = 120
"""Seconds that anything may take on a machine that is busy with other things."""
_AGAIN = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode.LEADER_NOT_AVAILABLE,
    }
)
"""What a broker may answer while it goes down or comes up; the batch is sent again."""


class Broker:
    """A broker over one data directory, on a port that stays the same over restarts."""

    def __init__(self, data: Path) -> None:
        self.data, self.port = data, free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._running: RunningBroker | None = None

    def start(self) -> None:
        """Start and wait until it is ready."""
        # often, so that a round recovers from a recovery point and not all that came before it
        overrides = {"log.flush.offset.checkpoint.interval.ms": "300"}
        self._running = start_broker(self.data, port=self.port, overrides=overrides)

    def freeze(self) -> None:
        """Let the process do nothing more: from here on it acknowledges nothing, as one whose machine has lost its power."""
        assert self._running is not None
        freeze(self._running.process.pid)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; nothing happens when it is not running."""
        if self._running is not None:
            process, self._running = self._running.process, None
            process.kill()
            process.wait(LIMIT)
            assert process.stdout is not None
            process.stdout.close()

    def stop(self) -> None:
        """SIGTERM, and wait until it has stopped in order."""
        assert self._running is not None
        assert self._running.stop(timeout=LIMIT) == 0
        self._running = None


class Writer(threading.Thread):
    """An idempotent producer of one partition.

    Attributes:
        acknowledged: how many numbers, from 0 on, the broker acknowledged.
        failure: what ended the writer before it was told to stop.
    """

    def __init__(self, address: str, partition: int, seed: int) -> None:
        super().__init__(name=f"writer-{partition}", daemon=True)
        self.partition = partition
        self.acknowledged = 0
        self.failure: BaseException | None = None
        self._address = address
        self._random = random.Random(seed)
        self._finish = threading.Event()
        self._wire: Wire | None = None
        self._producer_id = -1

    def run(self) -> None:
        """Send batches until told to stop, the one under way until it is acknowledged."""
        try:
            while not self._finish.is_set():
                count = self._random.randint(1, 50)
                while not self._send(count):
                    time.sleep(0.02)
                # What is written has to be read again in each round: a load, but not all that the broker can take.
                time.sleep(0.002)
        except BaseException as error:
            self.failure = error

    def finish(self) -> None:
        """End once the batch under way is acknowledged."""
        self._finish.set()
        self.join(LIMIT)

    def _send(self, count: int) -> bool:
        """Send the next ``count`` numbers; whether they are acknowledged."""
        try:
            if self._wire is None:
                self._wire = Wire(self._address, timeout=LIMIT)
            if self._producer_id < 0:
                answer = self._wire.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=0), 4)
                if answer.error_code != ErrorCode.NONE:
                    return False
                self._producer_id = answer.producer_id
            (topic,) = self._wire.ask(self._request(count), 9).responses
        except (OSError, EOFError):
            if self._wire is not None:
                self._wire.socket.close()
            self._wire = None
            return False
        code = ErrorCode(topic.partition_responses[0].error_code)
        assert code is ErrorCode.NONE or code in _AGAIN, f"{self.name}: {code.name} after {self.acknowledged}"
        if code is ErrorCode.NONE:
            self.acknowledged += count
        return code is ErrorCode.NONE

    def _request(self, count: int) -> ProduceRequest:
        first, now = self.acknowledged, int(time.time() * 1000)
        records = [Record(b"k", b"%d" % number + b"." * (number % 300), (), now) for number in range(first, first + count)]
        data = build_batch(records, producer_id=self._producer_id, producer_epoch=0, base_sequence=first)
        partition = PartitionProduceData(index=self.partition, records=data)
        topic = TopicProduceData(name=TOPIC, partition_data=[partition])
        return ProduceRequest(transactional_id=None, acks=-1, timeout_ms=10_000, topic_data=[topic])


class Campaign:
    """Rounds of load and fault.

    Args:
        broker: the broker, not started.
        partitions: how many partitions are written at once.
        seed: of the load and of the times between faults.
        topic: the topic's configs, with underscores for dots.
    """

    def __init__(self, broker: Broker, partitions: int = 3, seed: int = 1, **topic: str) -> None:
        self.broker = broker
        self.writers = [Writer(broker.address, number, seed + number) for number in range(partitions)]
        self.seen = dict.fromkeys(range(partitions), 0)
        self._checked = dict.fromkeys(range(partitions), 0)
        self._random = random.Random(seed)
        self._topic = topic

    def run(self, rounds: int, fault: Callable[[], None]) -> None:
        """Make ``rounds`` faults, each after a random time under load, and check after each restart.

        ``fault`` takes the broker down, its process included; it is started again here.
        """
        self.broker.start()
        self.create_topic()
        for writer in self.writers:
            writer.start()
        number = 0
        try:
            for number in range(rounds):
                self._round(fault, number)
        finally:
            for writer in self.writers:
                writer.finish()
        self._check([writer.acknowledged for writer in self.writers], number, whole=True)
        written = sum(writer.acknowledged for writer in self.writers)
        _log.info("%d rounds: %d records acknowledged, each there once", rounds, written)

    def _round(self, fault: Callable[[], None], number: int) -> None:
        stop = threading.Event()
        reader = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        reader.start()
        time.sleep(self._random.uniform(0.05, 0.6))
        acknowledged = [writer.acknowledged for writer in self.writers]
        fault()
        stop.set()
        reader.join(LIMIT)
        self.broker.start()
        self._check(acknowledged, number)
        _log.info("round %d: %s acknowledged before the fault, %s seen", number, acknowledged, list(self.seen.values()))

    def _check(self, acknowledged: list[int], round_number: int, *, whole: bool = False) -> None:
        """Every number acknowledged, or seen before the fault, is there, in order and once.

        Looks at what came since the last round unless ``whole``.
        """
        for writer, least in zip(self.writers, acknowledged, strict=True):
            where = f"round {round_number}, partition {writer.partition}"
            assert writer.failure is None, f"{where}: {writer.failure!r}"
            begin = 0 if whole else self._checked[writer.partition]
            seen = self.seen[writer.partition]
            found = self.numbers(writer.partition, begin, max(least, seen))
            end = begin + len(found)
            assert found == list(range(begin, end)), f"{where}: {_first_gap(found, begin)}"
            assert end >= least, f"{where}: {least} acknowledged, {end} there"
            assert end >= seen, f"{where}: a consumer saw {seen}, {end} are there"
            self._checked[writer.partition] = end

    def create_topic(self) -> None:
        configs = [CreatableTopicConfig(name=name.replace("_", "."), value=value) for name, value in self._topic.items()]
        topic = CreatableTopic(
            name=TOPIC, num_partitions=len(self.writers), replication_factor=1, assignments=[], configs=configs
        )
        with Wire(self.broker.address) as wire:
            (result,) = wire.ask(CreateTopicsRequest(topics=[topic], timeout_ms=LIMIT * 1000), 5).topics
        assert result.error_code == ErrorCode.NONE, result.error_message

    def _watch(self, stop: threading.Event) -> None:
        """Read what becomes visible until the broker goes away."""
        try:
            with Wire(self.broker.address, timeout=5) as wire:
                while not stop.is_set():
                    for partition, seen in self.seen.items():
                        self.seen[partition] = seen + len(_fetch(wire, partition, seen))
                    time.sleep(0.005)
        except (OSError, EOFError):
            return

    def numbers(self, partition: int, begin: int, end: int) -> list[int]:
        """The numbers that a consumer gets from offset ``begin`` on, up to ``end`` if they come in time."""
        found: list[int] = []
        deadline = time.monotonic() + LIMIT
        with Wire(self.broker.address, timeout=LIMIT) as wire:
            while begin + len(found) < end and time.monotonic() < deadline:
                found.extend(_fetch(wire, partition, begin + len(found)))
        return found


def _fetch(wire: Wire, partition: int, offset: int) -> list[int]:
    """The numbers of the visible records from an offset on; offsets and numbers are the same in a sound partition."""
    wanted = FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=1 << 20)
    topic = FetchTopic(topic=TOPIC, partitions=[wanted])
    answer = wire.ask(FetchRequest(max_wait_ms=50, min_bytes=1, topics=[topic], forgotten_topics_data=[]), 11)
    if not answer.responses:
        return []
    (data,) = answer.responses[0].partitions
    if data.error_code in _AGAIN:
        return []
    assert data.error_code == ErrorCode.NONE, ErrorCode(data.error_code).name
    numbers = []
    for batch in iter_batches(data.records or b""):
        batch.check()
        for record in batch.records():
            if record.offset >= offset:
                numbers.append(int((record.value or b"").rstrip(b".")))
                assert numbers[-1] == record.offset, f"number {numbers[-1]} at offset {record.offset}"
    return numbers


def _first_gap(found: list[int], begin: int) -> str:
    at = next(place for place, number in enumerate(found, begin) if place != number) - begin
    return f"number {found[at]} at offset {begin + at}"


def produce_numbers(wire: Wire, begin: int, end: int, *, acks: int, size: int = 10) -> None:
    """Write numbers to partition 0, in batches of ``size``, each acknowledged as ``acks`` asks."""
    for first in range(begin, end, size):
        now = int(time.time() * 1000)
        records = [Record(b"k", b"%d" % number, (), now) for number in range(first, min(first + size, end))]
        topic = TopicProduceData(name=TOPIC, partition_data=[PartitionProduceData(index=0, records=build_batch(records))])
        answer = wire.ask(ProduceRequest(transactional_id=None, acks=acks, timeout_ms=LIMIT * 1000, topic_data=[topic]), 9)
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.NONE


def rounds(variable: str, usual: int) -> int:
    """How many rounds the environment asks for."""
    return int(os.environ.get(variable, usual))
