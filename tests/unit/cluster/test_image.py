"""The image is a snapshot: updates make a new one and say what changed."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from kafkax.cluster.image import MetadataCache, has_leaders
from kafkax.model import TopicPartition
from kafkax.protocol.messages.update_metadata import (
    UpdateMetadataBroker,
    UpdateMetadataEndpoint,
    UpdateMetadataPartitionState,
    UpdateMetadataRequest,
    UpdateMetadataTopicState,
)

ID = uuid4()


def broker(id_, rack=None):
    endpoint = UpdateMetadataEndpoint(port=9092, host=f"h{id_}", listener="L", security_protocol=3)
    return UpdateMetadataBroker(id=id_, rack=rack, endpoints=[endpoint])


def partition(index, leader=1, leader_epoch=0, replicas=(1, 2), offline=()):
    return UpdateMetadataPartitionState(
        partition_index=index,
        leader=leader,
        leader_epoch=leader_epoch,
        isr=[1],
        replicas=list(replicas),
        offline_replicas=list(offline),
        zk_version=4,
    )


def update(*partitions, brokers=(1, 2), name="t", topic_id=ID, controller=1):
    topics = (
        [UpdateMetadataTopicState(topic_name=name, topic_id=topic_id, partition_states=list(partitions))] if partitions else []
    )
    return UpdateMetadataRequest(controller_id=controller, topic_states=topics, live_brokers=[broker(b) for b in brokers])


@pytest.fixture
def cache():
    return MetadataCache("cluster")


def test_topics_partitions_and_brokers_are_found(cache):
    cache.update(update(partition(1), partition(0, offline=[2])))
    image = cache.image
    assert image.controller_id == 1
    assert image.topic_by_id(ID) is image.topics["t"]
    assert list(image.topics["t"].partitions) == [0, 1]
    found = image.partition("t", 0)
    assert (found.leader, found.replicas, found.isr, found.offline, found.partition_epoch) == (1, (1, 2), (1,), (2,), 4)
    endpoint = image.brokers[2].endpoints["L"]
    assert (endpoint.host, endpoint.port, endpoint.security_protocol) == ("h2", 9092, "SASL_SSL")
    assert image.partition("t", 9) is None
    assert image.partition("x", 0) is None
    assert image.topic_by_id(uuid4()) is None


def test_an_update_leaves_former_images_alone_and_says_what_changed(cache):
    deltas = []
    cache.add_listener(lambda image, delta: deltas.append(delta))
    cache.update(update(partition(0)))
    before = cache.image
    cache.update(update(partition(0, leader=2, leader_epoch=1)))
    assert before.partition("t", 0).leader == 1
    assert cache.image.partition("t", 0).leader == 2
    assert [(d.topics, d.brokers) for d in deltas] == [({"t"}, True), ({"t"}, False)]


def test_an_update_without_topics_keeps_them(cache):
    cache.update(update(partition(0)))
    cache.update(update(brokers=(2,)))
    assert list(cache.image.brokers) == [2]
    assert cache.image.partition("t", 0) is not None


def test_a_dead_leader_is_no_leader(cache):
    cache.update(update(partition(0)))
    image = cache.image
    assert image.leader(image.partition("t", 0)).broker_id == 1
    assert has_leaders(image, [TopicPartition("t", 0)])
    cache.update(update(brokers=(2,)))
    assert cache.image.leader(cache.image.partition("t", 0)) is None
    assert not has_leaders(cache.image, [TopicPartition("t", 0)])
    assert not has_leaders(cache.image, [TopicPartition("t", 7)])


def test_a_topic_goes_with_its_last_partition(cache):
    cache.update(update(partition(0), partition(1)))
    cache.update(update(partition(0, leader=-2)))
    assert list(cache.image.topics["t"].partitions) == [1]
    delta = cache.update(update(partition(1, leader=-2)))
    assert delta.deleted_topics == {"t"}
    assert cache.image.topics == {}
    assert cache.image.names == {}


def test_a_topic_of_another_id_replaces_the_former_wholly(cache):
    cache.update(update(partition(0), partition(1)))
    other = uuid4()
    cache.update(update(partition(0), topic_id=other))
    assert list(cache.image.topics["t"].partitions) == [0]
    assert list(cache.image.names) == [other]


def test_configs_come_and_go(cache):
    deltas = []
    cache.add_listener(lambda image, delta: deltas.append(delta.configs))
    cache.set_configs({("topics", "t"): {"a": "1"}, ("brokers", "<default>"): {"b": "2"}, ("users", "u"): {"c": "3"}})
    assert cache.image.topic_config("t") == {"a": "1"}
    assert cache.image.topic_config("x") == {}
    assert cache.image.default_broker_config == {"b": "2"}
    cache.set_configs({("topics", "t"): {"a": "1"}})
    cache.set_configs({("topics", "t"): {}})
    assert cache.image.topic_configs == {}
    assert cache.image.entity_config("users", "u") == {"c": "3"}
    assert deltas == [{("topics", "t"), ("brokers", "<default>"), ("users", "u")}, {("topics", "t")}]


async def test_waiting_for_an_image_ends_with_it_or_in_time(cache):
    waiting = asyncio.ensure_future(cache.wait_for(lambda image: "t" in image.topics, 5))
    await asyncio.sleep(0)
    cache.update(update(partition(0)))
    assert await waiting
    assert not await cache.wait_for(lambda image: "x" in image.topics, 0.01)
    assert not cache._listeners
