"""``kafkax leader-election``: elect preferred leaders, or any."""

from __future__ import annotations

from pathlib import Path

import click

from kafkax.cli.admin.common import connect, fail_on
from kafkax.cli.admin.delete_records import partitions_of
from kafkax.cli.options import bootstrap_server, command_config, output_format
from kafkax.cli.output import show
from kafkax.errors import ErrorCode

__all__ = ["command"]


@click.command("leader-election")
@bootstrap_server
@command_config
@click.option("--election-type", required=True, type=click.Choice(["preferred", "unclean"], case_sensitive=False), help="Which.")
@click.option("--topic", metavar="NAME", help="Topic; needs --partition.")
@click.option("--partition", type=click.IntRange(min=0), help="Partition of --topic.")
@click.option(
    "--path-to-json-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='{"partitions": [{"topic": ..., "partition": ...}]}',
)
@click.option("--all-topic-partitions", is_flag=True, help="All partitions.")
@output_format
def command(
    bootstrap_server: str,
    command_config: dict[str, str],
    election_type: str,
    topic: str | None,
    partition: int | None,
    path_to_json_file: Path | None,
    all_topic_partitions: bool,
    form: str | None,
) -> None:
    """Elect the preferred replicas as leaders, or (unclean) any replica, which loses data."""
    if sum((topic is not None, path_to_json_file is not None, all_topic_partitions)) != 1 or (topic is None) != (
        partition is None
    ):
        raise click.UsageError("give --topic with --partition, --path-to-json-file or --all-topic-partitions")
    keys = None
    if topic is not None and partition is not None:
        keys = [(topic, partition)]
    elif path_to_json_file is not None:
        keys = list(partitions_of(path_to_json_file, "partition"))
    with connect(bootstrap_server, command_config) as admin:
        results = admin.elect_leaders(keys, unclean=election_type.lower() == "unclean")
    rows, failed = [], []
    for (name, number), error in sorted(results.items(), key=lambda item: item[0]):
        needless = error is not None and error.code is ErrorCode.ELECTION_NOT_NEEDED
        if error is not None and not needless:
            failed.append(error)
        result = "elected" if error is None else "not needed" if needless else str(error)
        rows.append({"topic": name, "partition": number, "result": result})
    show(rows, form, ("topic", "partition", "result"))
    fail_on(failed)
