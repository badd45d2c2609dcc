"""``kafkax log-dirs``: the log directories of brokers and what they hold."""

from __future__ import annotations

import click

from kafkax.cli.admin.common import connect, fail_on
from kafkax.cli.options import bootstrap_server, command_config, output_format
from kafkax.cli.output import show

__all__ = ["command"]


@click.command("log-dirs")
@bootstrap_server
@command_config
@click.option("--describe", is_flag=True, help="Describe; there is nothing else to do, so it may be left out.")
@click.option("--broker-list", metavar="ID,...", help="Brokers; all without it.")
@click.option("--topic-list", metavar="NAME,...", help="Topics; all without it.")
@output_format
def command(
    bootstrap_server: str,
    command_config: dict[str, str],
    describe: bool,
    broker_list: str | None,
    topic_list: str | None,
    form: str | None,
) -> None:
    """Show the log directories of brokers and the replicas in them."""
    try:
        brokers = [int(part) for part in broker_list.split(",")] if broker_list else None
    except ValueError:
        raise click.UsageError(f"--broker-list {broker_list!r} is refused; ids parted by commas are allowed") from None
    topics = [name.strip() for name in topic_list.split(",")] if topic_list else None
    with connect(bootstrap_server, command_config) as admin:
        directories = admin.describe_log_dirs(brokers, topics)
    if form == "json":
        rows = [
            {**each._asdict(), "error": each.error and str(each.error), "replicas": [one._asdict() for one in each.replicas]}
            for each in directories
        ]
        show(rows, form)
    else:
        show(
            [
                {"broker": each.broker, "path": each.path, **one._asdict()}
                for each in directories
                for one in sorted(each.replicas)
            ],
            form,
            ("broker", "path", "topic", "partition", "size", "offset_lag", "is_future"),
        )
    failed = [each for each in directories if each.error is not None]
    for each in failed:
        click.echo(f"kafkax: broker {each.broker}: {each.error}", err=True)
    fail_on(failed)
