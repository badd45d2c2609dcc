"""``kafkax get-offsets``: offsets of partitions by time."""

from __future__ import annotations

import click

from kafkax.cli.admin.common import chosen_topics, connect, fail_on, settle, topic_partition
from kafkax.cli.options import bootstrap_server, command_config, output_format
from kafkax.cli.output import show
from kafkax.client.admin import OffsetSpec

__all__ = ["command"]

_TIMES = {
    "latest": OffsetSpec.LATEST,
    "earliest": OffsetSpec.EARLIEST,
    "max-timestamp": OffsetSpec.MAX_TIMESTAMP,
    "earliest-local": OffsetSpec.EARLIEST_LOCAL,
    "latest-tiered": OffsetSpec.LATEST_TIERED,
}


@click.command("get-offsets")
@bootstrap_server
@command_config
@click.option("--topic", metavar="REGEX", help="Topics; all without it.")
@click.option("--partitions", metavar="N,...", help="Partitions of these topics; all without it.")
@click.option("--topic-partitions", metavar="TOPIC:N,...", help="Partitions by topic and number.")
@click.option(
    "--time", "when", default="latest", help="Milliseconds since the epoch, -1 to -5, latest, earliest, max-timestamp, ..."
)
@click.option("--exclude-internal-topics", is_flag=True, help="Leave Kafka's own topics out.")
@output_format
def command(
    bootstrap_server: str,
    command_config: dict[str, str],
    topic: str | None,
    partitions: str | None,
    topic_partitions: str | None,
    when: str,
    exclude_internal_topics: bool,
    form: str | None,
) -> None:
    """Show offsets of partitions: the last, the first, or the first at or after a time."""
    try:
        at = int(_TIMES.get(when, when))
        numbers = {int(part) for part in partitions.split(",")} if partitions else None
    except ValueError as error:
        raise click.UsageError(f"--time {when!r}, --partitions {partitions!r}: {error}") from error
    with connect(bootstrap_server, command_config) as admin:
        if topic_partitions:
            keys = [topic_partition(text.strip()) for text in topic_partitions.split(",")]
        else:
            metadata = admin.list_topics()
            names = chosen_topics(metadata, topic, internal=not exclude_internal_topics)
            keys = [(name, n) for name in names for n in metadata.topics[name].partitions if numbers is None or n in numbers]
        results, errors = (
            settle(admin.list_offsets(dict.fromkeys(keys, at)), lambda key: f"{key[0]}-{key[1]}") if keys else ({}, {})
        )
    if form in (None, "text"):
        for name, number in sorted(results):
            offset = results[name, number].offset
            click.echo(f"{name}:{number}:{offset if offset >= 0 else ''}")
    else:
        rows = [
            {"topic": name, "partition": number, "offset": found.offset, "timestamp": found.timestamp}
            for (name, number), found in sorted(results.items())
        ]
        show(rows, form, ("topic", "partition", "offset", "timestamp"))
    fail_on(errors)
