"""``kafkax cluster``: who is in the cluster, and which partitions need attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import click

from kafkax.cli.admin.common import connect, settle
from kafkax.cli.options import bootstrap_server, command_config, output_format
from kafkax.cli.output import show, show_object
from kafkax.client.admin import AdminClient
from kafkax.client.admin.types import ConfigResource, ResourceType
from kafkax.client.metadata import ClusterMetadata, PartitionMetadata

__all__ = ["brokers", "command", "partitions"]

_COLUMNS = ("topic", "partition", "leader", "leader_epoch", "replicas", "isr", "offline", "min_isr")
_BROKERS = ("id", "host", "port", "rack", "controller", "leaders", "replicas", "out_of_sync")

MinIsr = Callable[[str], int]


def brokers(metadata: ClusterMetadata) -> list[dict[str, Any]]:
    """A row for each broker: how many partitions it leads and hosts, and in how many of those it is not in sync.

    Brokers that replicas are assigned to but that do not live have no address.
    """
    leaders: Counter[int] = Counter()
    hosted: Counter[int] = Counter()
    behind: Counter[int] = Counter()
    for topic in metadata.topics.values():
        for partition in topic.partitions.values():
            leaders[partition.leader] += 1
            hosted.update(partition.replicas)
            behind.update(set(partition.replicas) - set(partition.isrs))
    rows = []
    for number in sorted(metadata.brokers.keys() | hosted.keys()):
        broker = metadata.brokers.get(number)
        where = (None, None, None) if broker is None else (broker.host, broker.port, broker.rack)
        counts = (number == metadata.controller_id, leaders[number], hosted[number], behind[number])
        rows.append(dict(zip(_BROKERS, (number, *where, *counts), strict=True)))
    return rows


def partitions(
    metadata: ClusterMetadata, wanted: Callable[[PartitionMetadata, int], bool], min_isr: MinIsr
) -> Iterator[dict[str, Any]]:
    """A row for each partition that is ``wanted``, given it and its ``min.insync.replicas``."""
    for name, topic in sorted(metadata.topics.items()):
        minimum = min_isr(name)
        for each in topic.partitions.values():
            if wanted(each, minimum):
                row = (name, each.id, each.leader, each.leader_epoch, each.replicas, each.isrs, list(each.offline), minimum)
                yield dict(zip(_COLUMNS, row, strict=True))


def _min_isrs(admin: AdminClient, metadata: ClusterMetadata) -> MinIsr:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in metadata.topics]
    found, _ = settle(admin.describe_configs(resources), str) if resources else ({}, {})
    values = {resource.name: int(configs["min.insync.replicas"].value or 1) for resource, configs in found.items()}
    return lambda name: values.get(name, 1)


@click.group("cluster")
def command() -> None:
    """Show brokers, the controller, and partitions that need attention."""


def _sub(name: str, text: str, work: Callable[[AdminClient, str | None], None]) -> None:
    @command.command(name, help=text)
    @bootstrap_server
    @command_config
    @output_format
    def run(bootstrap_server: str, command_config: dict[str, str], form: str | None) -> None:
        with connect(bootstrap_server, command_config) as admin:
            work(admin, form)


def _brokers(admin: AdminClient, form: str | None) -> None:
    show(brokers(admin.list_topics()), form, _BROKERS)


def _controller(admin: AdminClient, form: str | None) -> None:
    metadata = admin.list_topics()
    broker = metadata.brokers.get(metadata.controller_id)
    address = None if broker is None else str(broker)
    show_object({"cluster_id": metadata.cluster_id, "controller": metadata.controller_id, "address": address}, form)


def _partitions(name: str, text: str, wanted: Callable[[PartitionMetadata, int], bool]) -> None:
    def work(admin: AdminClient, form: str | None) -> None:
        metadata = admin.list_topics()
        show(list(partitions(metadata, wanted, _min_isrs(admin, metadata))), form, _COLUMNS)

    _sub(name, text, work)


_sub("brokers", "List brokers with what they lead and host.", _brokers)
_sub("controller", "Show who is controller.", _controller)
_partitions("under-replicated", "List partitions with replicas out of sync.", lambda p, _: len(p.isrs) < len(p.replicas))
_partitions("at-min-isr", "List partitions that bear no further loss.", lambda p, minimum: len(p.isrs) == minimum)
_partitions("under-min-isr", "List partitions that refuse acks=all.", lambda p, minimum: len(p.isrs) < minimum)
_partitions("offline", "List partitions without a leader.", lambda p, _: p.leader < 0)
