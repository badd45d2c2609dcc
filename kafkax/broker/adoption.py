"""Taking over log directories that another broker wrote, when this one starts alone with a new coordination store.

The folders tell the topics, their partitions and ids; the checkpoints tell how far leader epochs have come.  What only the
former cluster's metadata knew (topic configs, users, quotas) cannot be told from them and has to be set again.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kafkax.cluster import znodes
from kafkax.cluster.store import CoordinationStore, Create
from kafkax.cluster.topic_admin import INTERNAL_TOPICS
from kafkax.errors import KafkaError
from kafkax.storage.epoch_checkpoint import read_epochs
from kafkax.storage.meta_properties import read_meta_properties
from kafkax.storage.names import FolderKind, parse_folder
from kafkax.storage.partition_metadata import read_topic_id

__all__ = ["adopt_cluster_id", "adopt_topics"]

_log = logging.getLogger(__name__)
_KRAFT_LOG = "__cluster_metadata"


@dataclass
class _Found:
    """A topic as its folders show it."""

    topic_id: uuid.UUID | None = None
    epochs: dict[int, int] = field(default_factory=dict)
    """Highest leader epoch by partition, -1 when the checkpoint has none."""


async def adopt_cluster_id(store: CoordinationStore, directories: Iterable[str]) -> None:
    """Let a new store belong to the cluster that the data belongs to.  Raises :class:`OSError`."""
    await store.ensure_paths(znodes.PERSISTENT_PATHS)
    if await store.exists(znodes.CLUSTER_ID) is not None:
        return
    for directory in directories:
        known = read_meta_properties(directory)
        if known is not None and known.cluster_id:
            await store.create(znodes.CLUSTER_ID, znodes.encode_cluster_id(known.cluster_id))
            return


async def adopt_topics(
    store: CoordinationStore, directories: Sequence[str], node_id: int, at_least: Mapping[str, int] | None = None
) -> int:
    """Enter the topics of the log directories into a store that has none yet.

    Args:
        at_least: partitions that a topic has at least, whether they have folders or not: keys of an internal topic are
            spread over as many as the configs say.

    Returns:
        How many topics were entered; 0 when the store had topics already, which then are the truth.
    """
    if await store.children(znodes.TOPICS):
        return 0
    found = _topics(directories)
    if not found:
        return 0
    least = at_least or {}
    await store.multi_all([_creation(name, topic, node_id, least.get(name, 0)) for name, topic in found.items()])
    _log.info("took over %d topics that the log directories hold", len(found))
    return len(found)


def _topics(directories: Iterable[str]) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for directory in directories:
        for entry in os.scandir(directory):
            name = parse_folder(entry.name) if entry.is_dir() else None
            if name is None or name.kind is not FolderKind.LIVE or name.partition.topic == _KRAFT_LOG:
                continue
            topic = found.setdefault(name.partition.topic, _Found())
            try:
                topic.topic_id = topic.topic_id or read_topic_id(entry.path)
                epochs = [start.epoch for start in read_epochs(entry.path)]
            except (KafkaError, OSError, ValueError) as error:
                _log.warning("%s: %s", Path(entry.path).name, error)
                epochs = []
            topic.epochs[name.partition.partition] = max(epochs, default=-1)
    return found


def _creation(name: str, topic: _Found, node_id: int, at_least: int) -> list[Create]:
    """What enters one topic: numbers that no folder has are partitions, too, so that keys keep their partition."""
    count = max(max(topic.epochs) + 1, at_least)
    partitions = {index: znodes.ReplicaAssignment((node_id,)) for index in range(count)}
    assignment = znodes.TopicAssignment(topic.topic_id or uuid.uuid4(), partitions)
    ops = [Create(znodes.topic_path(name), assignment.encode()), Create(znodes.partitions_path(name))]
    for index, epoch in topic.epochs.items():
        # one above what the logs have seen, since this is a new leadership
        state = znodes.PartitionState(node_id, epoch + 1, (node_id,), 0)
        ops += [Create(znodes.partition_path(name, index)), Create(znodes.state_path(name, index), state.encode())]
    if name in INTERNAL_TOPICS:
        ops.append(Create(znodes.config_path("topics", name), znodes.encode_config({"cleanup.policy": "compact"})))
    return ops
