"""Groups of different clients' consumers, members of which come, leave, die and stall: every record is processed.

``KAFKAX_MIX_RECORDS`` says how many records (1,000,000 in the nightly run); with more than the usual number the groups are larger
and more happens to them.  A session of the consumer protocol lasts 45 seconds, so its mix runs nightly only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.compat.brokers import REPOSITORY, running_broker, start_broker

USUAL = 20_000
RECORDS = int(os.environ.get("KAFKAX_MIX_RECORDS", USUAL))
PARTITIONS = 8
SECONDS = 90 if RECORDS <= USUAL else 900


class Mix:
    """A topic, a group and its members' processes."""

    def __init__(self, address: str, group: str, folder: Path) -> None:
        self.address, self.group, self.folder = address, group, folder
        self.members: dict[str, subprocess.Popen[bytes]] = {}
        self.dead: set[str] = set()

    def fill(self, first: int, count: int) -> None:
        """Produce records to the topic, which is made at first."""
        if first == 0:
            admin = AdminClient({"bootstrap.servers": self.address})
            admin.create_topics([NewTopic(self.group, PARTITIONS, 1)])[self.group].result(60)
        producer = Producer({"bootstrap.servers": self.address, "acks": "all", "queue.buffering.max.messages": 200_000})
        for number in range(first, first + count):
            while True:
                try:
                    producer.produce(self.group, b"%d" % number, partition=number % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(120) == 0

    def join(self, name: str, kind: str, *options: str) -> None:
        """Start a member."""
        command = [sys.executable, "-m", "tests.compat.group_member", kind, self.address, self.group, self.group]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.members[name] = subprocess.Popen(
                [*command, str(self.folder / name), *options], cwd=REPOSITORY, stdout=log, stderr=log
            )

    def join_java(self, name: str, launcher: Path, protocol: str = "consumer") -> None:
        """Start Apache Kafka's console consumer as a member."""
        configs = {"auto.offset.reset": "earliest", "auto.commit.interval.ms": "200", "group.protocol": protocol}
        if protocol == "classic":
            strategy = "org.apache.kafka.clients.consumer.RoundRobinAssignor"  # all of the clients know it
            configs |= {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500", "partition.assignment.strategy": strategy}
        shown = ("print.partition=true", "print.offset=true", "print.value=false")
        command = [
            *(str(launcher), "tool", "consumer.ConsoleConsumer", "--bootstrap-server", self.address),
            *("--topic", self.group, "--group", self.group),
            *(option for each in shown for option in ("--formatter-property", each)),
            *(option for each in configs.items() for option in ("--command-property", "=".join(each))),
        ]
        with (self.folder / f"{name}.log").open("ab") as log, (self.folder / name).open("ab") as out:
            self.members[name] = subprocess.Popen(command, stdout=out, stderr=log)

    def kill(self, name: str) -> None:
        """End a member without a word."""
        self.dead.add(name)
        self.members[name].kill()
        self.members.pop(name).wait()

    def stall(self, name: str, seconds: float) -> None:
        """Have a member do nothing for longer than its session."""
        self.dead.add(name)
        self.members[name].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.members[name].send_signal(signal.SIGCONT)

    def leave(self, name: str) -> None:
        """End a member in order."""
        self.members[name].terminate()
        self.members.pop(name).wait(60)

    def close(self) -> None:
        for process in self.members.values():
            process.kill()
            process.wait()

    def processed(self) -> dict[tuple[int, int], list[str]]:
        """Who has processed each record, by partition and offset."""
        found: dict[tuple[int, int], list[str]] = defaultdict(list)
        for path in self.folder.iterdir():
            if path.suffix == ".log":
                continue
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    # the console consumer says what each number is
                    partition, offset = line.replace("Partition:", "").replace("Offset:", "").split()
                    found[int(partition), int(offset)].append(path.name)
        return found

    def wait_for(self, count: int) -> dict[tuple[int, int], list[str]]:
        """Wait until so many records are processed."""
        deadline = time.monotonic() + SECONDS
        while len(found := self.processed()) < count:
            for name, process in self.members.items():
                assert process.poll() is None, f"{name} ended: {(self.folder / f'{name}.log').read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"{len(found)} of {count} records were processed"
            time.sleep(0.3)
        return found

    def wait_committed(self, count: int) -> None:
        """Wait until the group has committed so many records."""
        admin = AdminClient({"bootstrap.servers": self.address})
        deadline = time.monotonic() + SECONDS
        while True:
            asked = ConsumerGroupTopicPartitions(self.group)
            found = admin.list_consumer_group_offsets([asked])[self.group].result(60).topic_partitions
            committed = sum(max(each.offset, 0) for each in found)
            if committed >= count:
                return
            assert time.monotonic() < deadline, f"{committed} of {count} records were committed"
            time.sleep(0.1)

    def check(self, count: int) -> None:
        """Every record is processed, more than once only where a member died or stalled."""
        found = self.wait_for(count)
        twice = {record: names for record, names in found.items() if len([each for each in names if each not in self.dead]) > 1}
        assert not twice, f"{len(twice)} records were processed twice by living members: {list(twice.items())[:3]}"


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("protocol", ["classic", "consumer"] if RECORDS > USUAL else ["classic"])
def test_every_record_is_processed(protocol: str, bootstrap: str, tmp_path: Path) -> None:
    mix = Mix(bootstrap, f"mix-{protocol}-{os.getpid()}", tmp_path)
    kinds = ["confluent", "kafka-python", "aiokafka"] if protocol == "classic" else ["confluent-next"] * 3
    try:
        mix.fill(0, RECORDS // 2)
        for at, kind in enumerate(kinds):
            mix.join(f"first-{at}", kind)
        mix.wait_for(RECORDS // 4)
        mix.join("late", kinds[0])
        mix.kill("first-1")
        if RECORDS > USUAL:
            for at in range(6):
                mix.join(f"burst-{at}", kinds[at % len(kinds)])
            mix.fill(RECORDS // 2, RECORDS // 4)
            mix.wait_for(RECORDS // 2)
            mix.stall("burst-0", 10)
            mix.kill("burst-1")
            mix.leave("first-2")
            mix.leave("burst-3")
            mix.join("again", kinds[-1])
            mix.fill(RECORDS * 3 // 4, RECORDS // 4)
        else:
            mix.leave("first-2")
            mix.fill(RECORDS // 2, RECORDS // 2)
        mix.check(RECORDS)
    finally:
        mix.close()


@pytest.mark.skipif(RECORDS <= USUAL, reason="takes long; runs with KAFKAX_MIX_RECORDS=1000000")
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("options", [("partition.assignment.strategy=cooperative-sticky",), ("group.instance.id={name}",)])
def test_cooperative_and_static_members(options: tuple[str, ...], bootstrap: str, tmp_path: Path) -> None:
    mix = Mix(bootstrap, f"mix-{options[0][:9].replace('.', '-')}-{os.getpid()}", tmp_path)

    def join(name: str) -> None:
        mix.join(name, "confluent", *(option.format(name=name) for option in options))

    try:
        mix.fill(0, RECORDS // 2)
        for name in ("a", "b", "c", "d"):
            join(name)
        mix.wait_for(RECORDS // 4)
        mix.kill("a")
        join("a")
        mix.kill("b")
        join("e")
        mix.fill(RECORDS // 2, RECORDS // 2)
        mix.check(RECORDS)
    finally:
        mix.close()


@pytest.mark.skipif(RECORDS <= USUAL, reason="takes long; runs with KAFKAX_MIX_RECORDS=1000000")
@pytest.mark.timeout(SECONDS + 60)
def test_java_members_among_others(bootstrap: str, kafka_tools: Path, tmp_path: Path) -> None:
    mix = Mix(bootstrap, f"mix-java-{os.getpid()}", tmp_path)
    try:
        mix.fill(0, RECORDS // 2)
        for at in range(3):
            mix.join(f"other-{at}", "confluent-next")
            mix.join_java(f"java-{at}", kafka_tools)
        mix.wait_for(RECORDS // 4)
        mix.kill("other-0")
        mix.leave("java-0")
        mix.fill(RECORDS // 2, RECORDS // 4)
        mix.wait_for(RECORDS // 2)
        mix.join_java("java-late", kafka_tools)
        mix.join("other-late", "confluent-next")
        mix.fill(RECORDS * 3 // 4, RECORDS // 4)
        mix.check(RECORDS)
        assert any(name.startswith("java") for names in mix.processed().values() for name in names)
    finally:
        mix.close()


@pytest.mark.skipif(RECORDS <= USUAL, reason="takes long; runs with KAFKAX_MIX_RECORDS=1000000")
@pytest.mark.timeout(SECONDS + 60)
def test_java_members_among_others_by_the_classic_protocol(bootstrap: str, kafka_tools: Path, tmp_path: Path) -> None:
    mix = Mix(bootstrap, f"mix-classic-java-{os.getpid()}", tmp_path)
    kinds = ("confluent", "kafka-python", "aiokafka")
    try:
        mix.fill(0, RECORDS // 2)
        for at, kind in enumerate(kinds):
            mix.join(f"{kind}-{at}", kind)
        for at in range(2):
            mix.join_java(f"java-{at}", kafka_tools, "classic")
        mix.wait_for(RECORDS // 4)
        mix.kill("java-0")
        mix.kill("kafka-python-1")
        mix.join("kafka-python-again", "kafka-python")
        mix.join_java("java-again", kafka_tools, "classic")
        mix.fill(RECORDS // 2, RECORDS // 4)
        mix.wait_for(RECORDS // 2)
        mix.stall("java-1", 10)
        mix.leave("java-again")
        mix.stall("aiokafka-2", 10)
        mix.leave("confluent-0")
        mix.join("aiokafka-late", "aiokafka")
        mix.join_java("java-late", kafka_tools, "classic")
        mix.fill(RECORDS * 3 // 4, RECORDS // 4)
        mix.check(RECORDS)
        assert any(name.startswith("java") for names in mix.processed().values() for name in names)
    finally:
        mix.close()


@pytest.mark.timeout(SECONDS + 60)
def test_nobody_loses_an_offset_when_the_broker_restarts(tmp_path: Path) -> None:
    count = min(RECORDS, 100_000) if RECORDS > USUAL else 4_000
    (tmp_path / "members").mkdir()
    with running_broker(tmp_path / "data") as broker:
        mix = Mix(broker.address, "restart", tmp_path / "members")
        try:
            mix.fill(0, count // 2)
            mix.join("one", "confluent")
            mix.join("two", "confluent-next" if RECORDS > USUAL else "confluent")
            before = mix.wait_for(count // 2).keys()
            mix.wait_committed(count // 2)
            assert broker.stop() == 0
            again = start_broker(tmp_path / "data", port=int(broker.address.rpartition(":")[2]))
            try:
                mix.fill(count // 2, count - count // 2)
                found = mix.wait_for(count)
            finally:
                again.stop()
            assert [record for record in before if len(found[record]) > 1] == [], "committed offsets went back"
        finally:
            mix.close()
