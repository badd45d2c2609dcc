"""``kafkax topics``: list, create, describe, alter and delete topics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kafkax.cli.admin.common import action_of, actions, chosen_topics, connect, fail_on, settle
from kafkax.cli.options import bootstrap_server, command_config, output_format, pairs
from kafkax.cli.output import show
from kafkax.client.admin import (
    AdminClient,
    ConfigAlteration,
    ConfigOperation,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from kafkax.client.metadata import PartitionMetadata
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["command"]

_PARTITION_COLUMNS = ("topic", "partition", "leader", "leader_epoch", "replicas", "isr", "offline")


@click.command("topics")
@bootstrap_server
@command_config
@actions("list", "create", "describe", "alter", "delete")
@click.option("--topic", metavar="NAME", help="Topic; a regular expression for all actions but --create.")
@click.option("--partitions", type=click.IntRange(min=1), help="Number of partitions to create, or to grow to.")
@click.option("--replication-factor", type=click.IntRange(min=1, max=32767), help="Replicas of each partition.")
@click.option(
    "--replica-assignment", metavar="ID:ID,...", help="Broker ids of each partition's replicas, partitions parted by commas."
)
@click.option("--config", "configs", multiple=True, metavar="KEY=VALUE", help="Config of the topic; may be given several times.")
@click.option("--delete-config", "deleted", multiple=True, metavar="KEY", help="With --alter: take a config back to its default.")
@click.option("--if-not-exists", is_flag=True, help="With --create: an existing topic is no error.")
@click.option("--if-exists", is_flag=True, help="With --describe, --alter, --delete: an absent topic is no error.")
@click.option("--exclude-internal", is_flag=True, help="With --list, --describe: leave Kafka's own topics out.")
@click.option("--under-replicated-partitions", is_flag=True, help="With --describe: only partitions that lack replicas.")
@click.option("--under-min-isr-partitions", is_flag=True, help="With --describe: only those with fewer than min.insync.replicas.")
@click.option("--at-min-isr-partitions", is_flag=True, help="With --describe: only those with just min.insync.replicas.")
@click.option("--unavailable-partitions", is_flag=True, help="With --describe: only partitions without leader.")
@click.option("--topics-with-overrides", is_flag=True, help="With --describe: only topics with configs of their own, and these.")
@output_format
def command(bootstrap_server: str, command_config: dict[str, str], form: str | None, **options: Any) -> None:
    """List, create, describe, alter and delete topics."""
    action = action_of(**{name: options[name] for name in ("list", "create", "describe", "alter", "delete")})
    if action in ("create", "alter", "delete") and not options["topic"]:
        raise click.UsageError(f"--{action} needs --topic")
    with connect(bootstrap_server, command_config) as admin:
        {"list": _list, "create": _create, "describe": _describe, "alter": _alter, "delete": _delete}[action](
            admin, form, options
        )


def _list(admin: AdminClient, form: str | None, options: dict[str, Any]) -> None:
    metadata = admin.list_topics()
    names = chosen_topics(metadata, options["topic"], internal=not options["exclude_internal"], required=False)
    if form in (None, "text"):
        for name in names:
            click.echo(name)
        return
    topics = [metadata.topics[name] for name in names]
    rows = [
        {
            "topic": topic.topic,
            "partitions": len(topic.partitions),
            "replication_factor": max((len(each.replicas) for each in topic.partitions.values()), default=0),
            "topic_id": str(topic.topic_id),
            "internal": topic.is_internal,
        }
        for topic in topics
    ]
    show(rows, form, ("topic", "partitions", "replication_factor", "topic_id", "internal"))


def _assignment(text: str | None) -> list[list[int]] | None:
    if text is None:
        return None
    try:
        return [[int(broker) for broker in partition.split(":")] for partition in text.split(",")]
    except ValueError:
        raise click.UsageError(f"--replica-assignment {text!r} is refused; broker ids like 1:2,2:3 are allowed") from None


def _create(admin: AdminClient, form: str | None, options: dict[str, Any]) -> None:
    topic = NewTopic(
        options["topic"],
        options["partitions"] or -1,
        options["replication_factor"] or -1,
        _assignment(options["replica_assignment"]),
        pairs("--config", options["configs"]),
    )
    try:
        created = admin.create_topics([topic])[topic.topic].result()
    except KafkaError as error:
        if error.code is ErrorCode.TOPIC_ALREADY_EXISTS and options["if_not_exists"]:
            return
        raise
    if form in ("json", "table"):
        row = {**created._asdict(), "topic_id": str(created.topic_id)}
        show([row], form)
        return
    counts = f" with {created.num_partitions} partitions" if created.num_partitions > 0 else ""
    click.echo(f"Created topic {created.topic}{counts}.")


_FILTERS = ("under_replicated_partitions", "under_min_isr_partitions", "at_min_isr_partitions", "unavailable_partitions")


def _wanted(partition: PartitionMetadata, options: dict[str, Any], least: int) -> bool:
    """Whether a partition passes the filters; ``least`` is its topic's min.insync.replicas."""
    in_sync = len(partition.isrs)
    if options["unavailable_partitions"]:
        return partition.leader < 0
    if options["under_min_isr_partitions"]:
        return in_sync < least
    if options["at_min_isr_partitions"]:
        return in_sync == least
    return not options["under_replicated_partitions"] or in_sync < len(partition.replicas)


def _describe(admin: AdminClient, form: str | None, options: dict[str, Any]) -> None:
    metadata = admin.list_topics()
    names = chosen_topics(metadata, options["topic"], internal=not options["exclude_internal"], required=not options["if_exists"])
    overrides, least = _configs(admin, names)
    if options["topics_with_overrides"]:
        rows = [
            {"topic": name, "config": key, "value": value} for name in names for key, value in overrides.get(name, {}).items()
        ]
        show(rows, form, ("topic", "config", "value"))
        return
    if form == "json":
        described = [
            {
                "topic": name,
                "topic_id": str(metadata.topics[name].topic_id),
                "internal": metadata.topics[name].is_internal,
                "configs": overrides.get(name, {}),
                "partitions": [
                    _row(name, each)
                    for each in metadata.topics[name].partitions.values()
                    if _wanted(each, options, least.get(name, 1))
                ],
            }
            for name in names
        ]
        show(described, form, ("topic", "topic_id", "internal", "configs", "partitions"))
        return
    for name in names:
        _describe_topic(name, metadata.topics[name].partitions.values(), overrides.get(name, {}), options)
    rows = [
        _row(name, each)
        for name in names
        for each in metadata.topics[name].partitions.values()
        if _wanted(each, options, least.get(name, 1))
    ]
    show(rows, form, _PARTITION_COLUMNS)


def _describe_topic(name: str, partitions: Any, overrides: dict[str, str], options: dict[str, Any]) -> None:
    if any(options[name] for name in _FILTERS):
        return
    factor = max((len(each.replicas) for each in partitions), default=0)
    configs = ",".join(f"{key}={value}" for key, value in overrides.items()) or "-"
    click.echo(f"{name}: {len(partitions)} partitions, {factor} replicas, configs {configs}")


def _row(topic: str, partition: PartitionMetadata) -> dict[str, Any]:
    return {
        "topic": topic,
        "partition": partition.id,
        "leader": partition.leader if partition.leader >= 0 else None,
        "leader_epoch": partition.leader_epoch,
        "replicas": partition.replicas,
        "isr": partition.isrs,
        "offline": list(partition.offline),
    }


def _configs(admin: AdminClient, names: Sequence[str]) -> tuple[dict[str, dict[str, str]], dict[str, int]]:
    """Configs that were set on the topics themselves, and the min.insync.replicas that hold for each."""
    described = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names]) if names else {}
    results, _ = settle(described, lambda resource: resource.name)
    overrides, least = {}, {}
    for resource, entries in results.items():
        set_itself = [entry for entry in entries.values() if entry.source == "DYNAMIC_TOPIC_CONFIG"]
        overrides[resource.name] = {entry.name: entry.value or "" for entry in set_itself}
        if "min.insync.replicas" in entries:
            least[resource.name] = int(entries["min.insync.replicas"].value or 1)
    return overrides, least


def _alter(admin: AdminClient, form: str | None, options: dict[str, Any]) -> None:
    changes = [ConfigAlteration(key, ConfigOperation.SET, value) for key, value in pairs("--config", options["configs"]).items()]
    changes += [ConfigAlteration(key, ConfigOperation.DELETE) for key in options["deleted"]]
    if not changes and options["partitions"] is None:
        raise click.UsageError("--alter needs --partitions, --config or --delete-config")
    names = chosen_topics(admin.list_topics(), options["topic"], required=not options["if_exists"])
    failed: list[object] = []
    if options["partitions"] is not None:
        wanted = [NewPartitions(name, options["partitions"], _assignment(options["replica_assignment"])) for name in names]
        failed += settle(admin.create_partitions(wanted))[1]
    if changes and names:
        altered = admin.incremental_alter_configs({ConfigResource(ResourceType.TOPIC, name): changes for name in names})
        failed += settle(altered, lambda resource: resource.name)[1]
    fail_on(failed)
    if form == "json":
        show([{"topic": name} for name in names], form)


def _delete(admin: AdminClient, form: str | None, options: dict[str, Any]) -> None:
    names = chosen_topics(admin.list_topics(), options["topic"], required=not options["if_exists"])
    results, errors = settle(admin.delete_topics(names)) if names else ({}, {})
    if form == "json":
        show([{"topic": name} for name in results], form, ("topic",))
    fail_on(errors)
