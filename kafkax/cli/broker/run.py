"""``kafkax broker``: run a broker with Kafka's configs."""

from __future__ import annotations

import click

from kafkax.cli.options import pairs
from kafkax.config import BrokerConfig

__all__ = ["command"]


@click.command("broker")
@click.argument("properties", required=False, type=click.Path(exists=True, dir_okay=False), metavar="[server.properties]")
@click.option("--override", multiple=True, metavar="KEY=VALUE", help="A config that stands above the file; may be given again.")
def command(properties: str | None, override: tuple[str, ...]) -> None:
    """Run a broker until SIGTERM or Ctrl-C.

    The file and the overrides take Kafka's broker configs, for example listeners, advertised.listeners, log.dirs, node.id.
    One line on stdout tells when the broker is ready.
    """
    config = BrokerConfig.load(properties, pairs("--override", override))
    warnings = config.warnings()
    if warnings:
        click.echo(f"kafkax: {'; '.join(warnings)}", err=True)
    from kafkax.server import run

    run(config)
