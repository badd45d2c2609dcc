"""What clients may ask about topics, and what they are told when it can't be."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from kafkax.cluster.topic_admin import NewTopic
from kafkax.errors import ErrorCode, KafkaError
from tests.sim.rig import Rig


@pytest.fixture
async def rig():
    rig = Rig()
    await rig.start(1, 2)
    yield rig
    await rig.stop()


@pytest.fixture
def admin(rig):
    return rig.active.admin


async def create(admin, *topics, **kwargs):
    return await admin.create_topics(topics, timeout_ms=5000, **kwargs)


def code(outcome):
    return outcome.code if isinstance(outcome, KafkaError) else ErrorCode.NONE


async def test_defaults_come_from_the_broker(admin):
    (created,) = await create(admin, NewTopic("t"))
    assert len(created.replicas) == 1
    assert created.replication_factor == 1
    assert created.config["retention.ms"] == 604_800_000


async def test_topics_of_one_request_fail_each_for_itself(admin, rig):
    outcomes = await create(admin, NewTopic("ok"), NewTopic("bad name"), NewTopic("many", partitions=0), NewTopic("ok2"))
    assert [code(outcome) for outcome in outcomes] == [0, ErrorCode.INVALID_TOPIC_EXCEPTION, ErrorCode.INVALID_PARTITIONS, 0]
    assert sorted(rig.image(2).topics) == ["ok", "ok2"]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\0", "ü", "x" * 250])
async def test_impossible_names_are_refused(admin, name):
    (outcome,) = await create(admin, NewTopic(name))
    assert code(outcome) is ErrorCode.INVALID_TOPIC_EXCEPTION


async def test_names_that_metrics_cannot_tell_apart_are_refused(admin):
    await create(admin, NewTopic("a.b"))
    (outcome,) = await create(admin, NewTopic("a_b"))
    assert code(outcome) is ErrorCode.INVALID_TOPIC_EXCEPTION


async def test_an_existing_topic_is_refused(admin):
    await create(admin, NewTopic("t"))
    (outcome,) = await create(admin, NewTopic("t"))
    assert code(outcome) is ErrorCode.TOPIC_ALREADY_EXISTS


async def test_the_same_topic_twice_is_refused_twice(admin):
    outcomes = await create(admin, NewTopic("t"), NewTopic("t"))
    assert [code(outcome) for outcome in outcomes] == [ErrorCode.INVALID_REQUEST] * 2


async def test_two_requests_at_once_create_it_once(admin):
    outcomes = await asyncio.gather(create(admin, NewTopic("t")), create(admin, NewTopic("t")))
    assert sorted(code(outcome) for (outcome,) in outcomes) == [0, ErrorCode.TOPIC_ALREADY_EXISTS]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (NewTopic("t", replication_factor=3), ErrorCode.INVALID_REPLICATION_FACTOR),
        (NewTopic("t", replication_factor=0), ErrorCode.INVALID_REPLICATION_FACTOR),
        (NewTopic("t", partitions=2_000_000_000), ErrorCode.POLICY_VIOLATION),
        (NewTopic("t", partitions=1, assignments={0: [1]}), ErrorCode.INVALID_REQUEST),
        (NewTopic("t", assignments={0: [1], 2: [1]}), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", assignments={0: [1, 1]}), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", assignments={0: []}), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", assignments={0: [1], 1: [1, 2]}), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", assignments={0: [7]}), ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        (NewTopic("t", configs={"retention.ms": "soon"}), ErrorCode.INVALID_CONFIG),
        (NewTopic("t", configs={"no.such.config": "1"}), ErrorCode.INVALID_CONFIG),
        (NewTopic("t", configs={"retention.ms": None}), ErrorCode.INVALID_CONFIG),
    ],
)
async def test_impossible_wishes_are_refused(admin, rig, topic, expected):
    (outcome,) = await create(admin, topic)
    assert code(outcome) is expected
    assert rig.zookeeper.tree.children("/brokers/topics") == []


async def test_validate_only_creates_nothing(admin, rig):
    (outcome,) = await create(admin, NewTopic("t", partitions=3), validate_only=True)
    assert len(outcome.replicas) == 3
    assert rig.zookeeper.tree.children("/brokers/topics") == []
    (outcome,) = await create(admin, NewTopic("t", partitions=3, replication_factor=9), validate_only=True)
    assert code(outcome) is ErrorCode.INVALID_REPLICATION_FACTOR


async def test_no_time_to_wait_is_told_as_a_timeout_though_it_is_created(admin, rig):
    (outcome,) = await admin.create_topics([NewTopic("t")], timeout_ms=0)
    assert code(outcome) is ErrorCode.REQUEST_TIMED_OUT
    await rig.settled()
    assert "t" in rig.image(1).topics


async def test_configs_are_stored_and_reach_every_broker(admin, rig):
    await create(admin, NewTopic("t", configs={"retention.ms": "5"}))
    await rig.settled()
    assert rig.image(2).topic_config("t") == {"retention.ms": "5"}


async def test_a_new_topic_does_not_inherit_configs_of_a_former_one(admin, rig):
    await rig.active.store.create("/config/topics/t", b'{"version":1,"config":{"retention.ms":"1"}}')
    (created,) = await create(admin, NewTopic("t"))
    await rig.settled()
    assert code(created) is ErrorCode.NONE
    assert rig.image(1).topic_config("t") == {}


async def test_deletion_by_unknown_name_or_id(admin):
    outcomes = await admin.delete_topics(["ghost", uuid4()], timeout_ms=100)
    assert [code(outcome) for outcome in outcomes] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID]


async def test_growth(admin, rig):
    await create(admin, NewTopic("t", assignments={0: [1, 2]}))
    await admin.create_partitions("t", 2, [[2, 1]], timeout_ms=5000)
    assert rig.image(1).partition("t", 1).replicas == (2, 1)
    await admin.create_partitions("t", 5, timeout_ms=5000, validate_only=True)
    assert len(rig.image(1).topics["t"].partitions) == 2


@pytest.mark.parametrize(
    ("name", "count", "assignments", "expected"),
    [
        ("x", 2, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("../t", 2, None, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ("t", 1, None, ErrorCode.INVALID_PARTITIONS),
        ("t", -1, None, ErrorCode.INVALID_PARTITIONS),
        ("t", 2_000_000_000, None, ErrorCode.POLICY_VIOLATION),
        ("t", 3, [[1]], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ("t", 2, [[1, 2]], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
        ("t", 2, [[9]], ErrorCode.INVALID_REPLICA_ASSIGNMENT),
    ],
)
async def test_impossible_growth_is_refused(admin, name, count, assignments, expected):
    await create(admin, NewTopic("t"))
    with pytest.raises(KafkaError) as refused:
        await admin.create_partitions(name, count, assignments, timeout_ms=5000)
    assert refused.value.code is expected


async def test_a_topic_that_a_client_merely_names_is_created(admin, rig):
    outcomes = await admin.auto_create(["u", "bad name", "u"])
    assert outcomes["u"] is None
    assert outcomes["bad name"].code is ErrorCode.INVALID_TOPIC_EXCEPTION
    assert await admin.auto_create(["u"]) == {"u": None}
    assert "u" in rig.image(1).topics


async def test_internal_topics_are_created_as_their_configs_say(admin, rig):
    outcomes = await admin.auto_create(["__consumer_offsets"])
    assert outcomes["__consumer_offsets"].code is ErrorCode.INVALID_REPLICATION_FACTOR
    admin._standalone = True
    assert await admin.auto_create(["__consumer_offsets", "__transaction_state"]) == {
        "__consumer_offsets": None,
        "__transaction_state": None,
    }
    await rig.settled()
    image = rig.image(1)
    assert len(image.topics["__consumer_offsets"].partitions) == 50
    assert image.topic_config("__consumer_offsets") == {
        "cleanup.policy": "compact",
        "compression.type": "producer",
        "segment.bytes": "104857600",
    }
    assert image.topic_config("__transaction_state")["cleanup.policy"] == "compact"
