"""AlterReplicaLogDirs: a partition moves to another log directory under an idempotent producer, which notices nothing."""

from __future__ import annotations

import time
from pathlib import Path

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.alter_replica_log_dirs import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirTopic,
)
from kafkax.protocol.messages.describe_log_dirs import DescribeLogDirsRequest
from tests.compat.brokers import running_broker
from tests.crash.campaign import TOPIC, Broker, Campaign
from tests.system.wire import Wire

LIMIT = 60


def alter(wire: Wire, path: Path | str, topic: str, partition: int) -> ErrorCode:
    wanted = AlterReplicaLogDir(path=str(path), topics=[AlterReplicaLogDirTopic(name=topic, partitions=[partition])])
    answer = wire.ask(AlterReplicaLogDirsRequest(dirs=[wanted]), 2)
    return ErrorCode(answer.results[0].partitions[0].error_code)


def places(wire: Wire) -> dict[str, set[int]]:
    """The partitions in each log directory; 100 more for one that is on its way there."""
    answer = wire.ask(DescribeLogDirsRequest(topics=None), 4)
    return {
        Path(each.log_dir).name: {
            partition.partition_index + 100 * partition.is_future_key for topic in each.topics for partition in topic.partitions
        }
        for each in answer.results
    }


def test_a_partition_moves_while_it_is_written(tmp_path: Path) -> None:
    folders = [tmp_path / "d0", tmp_path / "d1"]
    with running_broker(folders[0], overrides={"log.dirs": ",".join(map(str, folders))}) as running:
        broker = Broker(folders[0])
        broker.address = running.address
        campaign = Campaign(broker, 1, segment_bytes="100000")
        campaign.create_topic()
        (writer,) = campaign.writers
        with Wire(running.address, timeout=LIMIT) as wire:
            writer.start()
            for target in ("d1", "d0"):
                goal = writer.acknowledged + 500
                while writer.acknowledged < goal:
                    time.sleep(0.01)
                before = places(wire)
                assert alter(wire, tmp_path / target, TOPIC, 0) is ErrorCode.NONE
                deadline = time.monotonic() + LIMIT
                while places(wire)[target] != {0}:
                    assert time.monotonic() < deadline, (before, places(wire))
                    time.sleep(0.01)
            writer.finish()
            campaign._check([writer.acknowledged], 0, whole=True)
            # As Apache Kafka 4.3 answers.
            assert alter(wire, tmp_path / "d0", TOPIC, 0) is ErrorCode.NONE
            assert alter(wire, tmp_path / "d0", TOPIC, 7) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            assert alter(wire, tmp_path / "d0", "nope", 0) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            assert alter(wire, tmp_path / "d0", "..", 0) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            assert alter(wire, tmp_path / "d0", "x" * 230, 0) is ErrorCode.INVALID_TOPIC_EXCEPTION
            assert alter(wire, "/elsewhere", TOPIC, 0) is ErrorCode.LOG_DIR_NOT_FOUND
            assert alter(wire, f"{tmp_path / 'd0'}/", TOPIC, 0) is ErrorCode.LOG_DIR_NOT_FOUND
