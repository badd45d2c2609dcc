"""Taking over log directories that another broker wrote."""

from __future__ import annotations

import uuid
from pathlib import Path

from kafkax.broker.adoption import adopt_cluster_id, adopt_topics
from kafkax.cluster import znodes
from kafkax.cluster.embedded import EmbeddedStore
from kafkax.cluster.registration import prepare_cluster
from kafkax.storage.epoch_checkpoint import EpochStart, write_epochs
from kafkax.storage.meta_properties import MetaProperties, write_meta_properties
from kafkax.storage.partition_metadata import write_topic_id


def folder(home: Path, name: str, topic_id: uuid.UUID | None = None, epoch: int = -1) -> None:
    path = home / name
    path.mkdir(parents=True)
    if topic_id is not None:
        write_topic_id(path, topic_id)
    if epoch >= 0:
        write_epochs(path, [EpochStart(epoch, 0)])


async def test_folders_tell_topics_ids_and_epochs(tmp_path: Path) -> None:
    topic_id = uuid.uuid4()
    data = tmp_path / "data"
    folder(data, "orders-0", topic_id, epoch=4)
    folder(data, "orders-2", topic_id)
    folder(data, "__consumer_offsets-0")
    folder(data, "__cluster_metadata-0")
    folder(data, f"gone-0.{uuid.uuid4().hex}-delete")
    folder(data, "no partition")
    store = await EmbeddedStore.open(tmp_path / "store.sqlite")
    try:
        await prepare_cluster(store)
        assert await adopt_topics(store, [str(data)], 7, {"__consumer_offsets": 50}) == 2
        assert sorted(await store.children(znodes.TOPICS)) == ["__consumer_offsets", "orders"]
        found = znodes.TopicAssignment.decode("orders", (await store.get(znodes.topic_path("orders")))[0])
        assert found.topic_id == topic_id
        assert {index: replicas.replicas for index, replicas in found.partitions.items()} == {0: (7,), 1: (7,), 2: (7,)}
        path = znodes.state_path("orders", 0)
        assert znodes.PartitionState.decode(path, (await store.get(path))[0]).leader_epoch == 5
        path = znodes.topic_path("__consumer_offsets")
        internal = znodes.TopicAssignment.decode("__consumer_offsets", (await store.get(path))[0])
        assert len(internal.partitions) == 50, "groups hash over as many as the configs say"
        path = znodes.config_path("topics", "__consumer_offsets")
        assert znodes.decode_config(path, (await store.get(path))[0]) == {"cleanup.policy": "compact"}
        assert await adopt_topics(store, [str(data)], 7) == 0, "the store is the truth once it has topics"
    finally:
        await store.close()


async def test_a_new_store_belongs_to_the_cluster_of_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    cluster_id = znodes.encode_id(uuid.uuid4())
    write_meta_properties(data, MetaProperties(cluster_id=cluster_id, broker_id=3))
    store = await EmbeddedStore.open(tmp_path / "store.sqlite")
    try:
        await adopt_cluster_id(store, [str(data)])
        assert await prepare_cluster(store) == cluster_id
        await adopt_cluster_id(store, [str(data)])
    finally:
        await store.close()
