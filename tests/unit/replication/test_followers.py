"""Partitions find the fetcher of their leader; where there are many, the busy ones are fetched apart."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("kafkax._core.partition")

from kafkax.model import TopicPartition
from kafkax.replication import followers as module
from kafkax.replication.fetcher import FetcherSettings
from kafkax.replication.followers import Followers
from kafkax.replication.replica import Replica


class FakeFetcher:
    def __init__(self, link, settings, broker_epoch, throttles, answered):
        self.link, self.settings, self.answered = link, settings, answered
        self.held = {}
        self.closed = False

    def __len__(self):
        return len(self.held)

    def add(self, followed, *, soon=True):
        self.held[followed.key] = followed

    def followed(self):
        return self.held.values()

    def release(self, partitions):
        return [self.held.pop(partition) for partition in partitions]

    def remove(self, partitions):
        for partition in partitions:
            self.held.pop(partition, None)

    def renew(self, followed):
        if followed.key in self.held:
            self.held[followed.key] = followed

    async def close(self):
        self.closed = True


@pytest.fixture
def rig(monkeypatch):
    made = []

    def fetcher(*args):
        made.append(FakeFetcher(*args))
        return made[-1]

    monkeypatch.setattr(module, "Fetcher", fetcher)
    addresses = {1: ("one", 9092), 2: ("two", 9092)}
    followers = Followers(FetcherSettings(3), lambda: 7, addresses.get, lambda *address: address, lambda _: True, 1, None)
    return SimpleNamespace(followers=followers, made=made, addresses=addresses)


def replica(index, leader, epoch=0):
    partition = SimpleNamespace(topic="t", index=index)
    return Replica(partition, leader, epoch, (leader, 3), (leader, 3), 0)


def held(rig):
    return {fetcher.link[0]: {key.partition for key in fetcher.held} for fetcher in rig.made if fetcher.held}


async def test_partitions_go_to_their_leaders_fetcher(rig):
    rig.followers.follow([replica(0, 1), replica(1, 2), replica(2, 1)])
    assert held(rig) == {"one": {0, 2}, "two": {1}}


async def test_a_new_epoch_of_the_same_leader_is_fetched_over_the_same_connection(rig):
    known = replica(0, 1)
    rig.followers.follow([known])
    (first,) = rig.made[0].held.values()
    rig.followers.follow([known._replace(isr=(1,))])
    assert list(rig.made[0].held.values()) == [first]
    rig.followers.follow([known._replace(leader_epoch=1)])
    (second,) = rig.made[0].held.values()
    assert (second.following.leader_epoch, len(rig.made)) == (1, 1)


async def test_a_partition_of_another_topic_with_the_same_name_begins_anew(rig):
    rig.followers.follow([replica(0, 1)])
    rig.followers.follow([anew := replica(0, 1)])
    (held_now,) = rig.made[-1].held.values()
    assert held_now.partition is anew.partition


async def test_a_leader_whose_address_is_not_known_is_followed_once_it_is(rig):
    rig.followers.follow([replica(0, 4)])
    assert held(rig) == {}
    rig.addresses[4] = ("four", 9092)
    rig.followers.brokers_changed()
    assert held(rig) == {"four": {0}}


async def test_a_leader_that_moved_is_fetched_from_where_it_is(rig):
    rig.followers.follow([replica(0, 1)])
    rig.addresses[1] = ("elsewhere", 9092)
    rig.followers.brokers_changed()
    assert held(rig) == {"elsewhere": {0}}


async def test_a_fetcher_without_partitions_is_closed(rig):
    rig.followers.follow([replica(0, 1)])
    rig.followers.forget([TopicPartition("t", 0)])
    await rig.followers.close()
    assert rig.made[0].closed


async def test_where_there_are_many_the_busy_ones_are_fetched_apart_until_they_are_idle(rig):
    rig.followers.follow([replica(index, 1) for index in range(200)])
    (main,) = rig.made
    now = asyncio.get_running_loop().time()
    main.held[TopicPartition("t", 5)].busy_at = now
    main.answered()
    main, busy = rig.made
    assert set(busy.held) == {TopicPartition("t", 5)}
    assert len(main) == 199
    assert busy.settings.wait_max_ms < main.settings.wait_max_ms
    busy.answered()
    assert len(busy) == 1
    busy.held[TopicPartition("t", 5)].busy_at = now - 60
    busy.answered()
    assert (len(main), len(busy)) == (200, 0)


async def test_a_few_partitions_stay_together(rig):
    rig.followers.follow([replica(index, 1) for index in range(20)])
    rig.made[0].held[TopicPartition("t", 5)].busy_at = asyncio.get_running_loop().time()
    rig.made[0].answered()
    assert len(rig.made) == 1


async def test_busy_partitions_are_forgotten_too(rig):
    rig.followers.follow([replica(index, 1) for index in range(200)])
    rig.made[0].held[TopicPartition("t", 5)].busy_at = asyncio.get_running_loop().time()
    rig.made[0].answered()
    rig.followers.forget([TopicPartition("t", 5)])
    assert len(rig.made[1]) == 0
