"""Dynamic configs: validated, stored as Kafka stores them, announced to every broker."""

from __future__ import annotations

import asyncio
import json

import pytest

from kafkax.cluster.config_admin import ConfigAdmin
from kafkax.cluster.topic_admin import NewTopic
from kafkax.config import AlterOperation, BrokerConfig, ConfigChange
from kafkax.errors import ErrorCode, KafkaError
from tests.sim.rig import Rig

SET, DELETE, APPEND = AlterOperation.SET, AlterOperation.DELETE, AlterOperation.APPEND


@pytest.fixture
async def rig():
    rig = Rig()
    await rig.start(1, 2)
    await rig.active.admin.create_topics([NewTopic("t", configs={"retention.ms": "5"})], timeout_ms=5000)
    await rig.settled()
    yield rig
    await rig.stop()


@pytest.fixture
def admin(rig):
    broker = rig.cluster.brokers[1]
    config = BrokerConfig({"listeners": "PLAINTEXT://127.0.0.1:9092", "node.id": "1", "log.dirs": "/nowhere"})
    return ConfigAdmin(1, broker.store, broker.cache, broker.configs, config)


def stored(rig, path):
    return json.loads(rig.zookeeper.tree.get(path)[0])["config"]


async def test_single_configs_change_and_the_others_stay(rig, admin):
    await admin.alter_topic("t", [ConfigChange("max.message.bytes", SET, "7"), ConfigChange("cleanup.policy", APPEND, "compact")])
    expected = {"retention.ms": "5", "max.message.bytes": "7", "cleanup.policy": "delete,compact"}
    assert rig.image(1).topic_config("t") == expected
    assert stored(rig, "/config/topics/t") == expected
    await rig.settled()
    assert rig.image(2).topic_config("t") == expected
    await admin.alter_topic("t", [ConfigChange("retention.ms", DELETE, None)])
    assert "retention.ms" not in rig.image(1).topic_config("t")


async def test_replacing_sets_what_is_not_given_back(rig, admin):
    await admin.replace_topic("t", {"max.message.bytes": "7"})
    assert stored(rig, "/config/topics/t") == {"max.message.bytes": "7"}


async def test_validate_only_changes_nothing(rig, admin):
    await admin.alter_topic("t", [ConfigChange("retention.ms", SET, "9")], validate_only=True)
    assert stored(rig, "/config/topics/t") == {"retention.ms": "5"}


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("ghost", ConfigChange("retention.ms", SET, "1"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("../t", ConfigChange("retention.ms", SET, "1"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("t", ConfigChange("retention.ms", SET, "x"), ErrorCode.INVALID_CONFIG),
        ("t", ConfigChange("nope", SET, "1"), ErrorCode.INVALID_CONFIG),
        ("t", ConfigChange("retention.ms", APPEND, "1"), ErrorCode.INVALID_CONFIG),
    ],
)
async def test_impossible_topic_configs_are_refused(rig, admin, name, change, expected):
    with pytest.raises(KafkaError) as refused:
        await admin.alter_topic(name, [change])
    assert refused.value.code is expected
    assert stored(rig, "/config/topics/t") == {"retention.ms": "5"}


async def test_broker_configs_for_one_and_for_all(rig, admin):
    await admin.alter_broker("1", [ConfigChange("log.cleaner.threads", SET, "2")])
    await admin.alter_broker("", [ConfigChange("log.cleaner.threads", SET, "3")])
    await rig.settled()
    assert rig.image(2).broker_config(1) == {"log.cleaner.threads": "2"}
    assert rig.image(2).default_broker_config == {"log.cleaner.threads": "3"}
    assert stored(rig, "/config/brokers/<default>") == {"log.cleaner.threads": "3"}
    announced = [
        rig.zookeeper.tree.get(f"/config/changes/{n}")[0] for n in sorted(rig.zookeeper.tree.children("/config/changes"))
    ]
    assert [json.loads(data)["entity_path"] for data in announced[-2:]] == ["brokers/1", "brokers/<default>"]


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("2", ConfigChange("log.cleaner.threads", SET, "2"), ErrorCode.INVALID_REQUEST),
        ("1", ConfigChange("log.dirs", SET, "/tmp"), ErrorCode.INVALID_REQUEST),
        ("1", ConfigChange("log.cleaner.threads", SET, "many"), ErrorCode.INVALID_REQUEST),
        ("", ConfigChange("advertised.listeners", SET, "PLAINTEXT://x:1"), ErrorCode.INVALID_REQUEST),
    ],
)
async def test_impossible_broker_configs_are_refused(admin, name, change, expected):
    with pytest.raises(KafkaError) as refused:
        await admin.alter_broker(name, [change])
    assert refused.value.code is expected


async def test_a_broker_that_starts_reads_what_was_set_before(rig, admin):
    await admin.alter_topic("t", [ConfigChange("max.message.bytes", SET, "7")])
    await rig.start(3)
    assert rig.image(3).topic_config("t")["max.message.bytes"] == "7"


async def test_changes_during_a_lost_connection_are_read_afterwards(rig, admin):
    store = rig.cluster.brokers[2].store
    store.disconnect()
    await admin.alter_topic("t", [ConfigChange("max.message.bytes", SET, "7")])
    store.reconnect()
    await rig.settled()
    assert rig.image(2).topic_config("t")["max.message.bytes"] == "7"


async def test_a_damaged_announcement_does_not_stop_the_rest(rig, admin):
    await rig.active.store.create("/config/changes/config_change_", b"{", sequence=True)
    await rig.settled()
    await admin.alter_topic("t", [ConfigChange("max.message.bytes", SET, "7")])
    await rig.settled()
    while rig.image(2).topic_config("t").get("max.message.bytes") != "7":
        await asyncio.sleep(0.01)
