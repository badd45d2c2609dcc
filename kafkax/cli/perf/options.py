"""Options and preparations that the perf commands share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from kafkax.cli.perf.bootstrap import Bootstrap, Topic, parse_address
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.api import API_KEYS

__all__ = ["ACKS", "FETCH", "PRODUCE", "common", "open_bootstrap", "request_version", "topic_for", "traffic"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

PRODUCE, FETCH = 0, 1
OLDEST = {PRODUCE: 3, FETCH: 4}
"""The oldest version of each API that the load generator reads answers of."""

ACKS = {"0": 0, "1": 1, "all": -1, "-1": -1}


def _address(context: click.Context, option: click.Parameter, value: str) -> tuple[str, int]:
    try:
        return parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def common(command: Decorated) -> Decorated:
    """Which broker and topic, and how to print."""
    for option in (
        click.option(
            "--format", "form", type=click.Choice(["table", "json", "text"]), default=None, help="How to print the report."
        ),
        click.option("--topic", required=True, help="Topic to use."),
        click.option(
            "--bootstrap-server", "address", required=True, metavar="HOST:PORT", callback=_address, help="Broker to ask first."
        ),
    ):
        command = option(command)
    return command


def traffic(connections: int, in_flight: int) -> Callable[[Decorated], Decorated]:
    """How many connections, and how many unanswered requests on each; the arguments are the defaults."""

    def decorate(command: Decorated) -> Decorated:
        for option in (
            click.option("--duration", type=click.FloatRange(min=0), default=0.0, help="Seconds; 0: until all records are done."),
            click.option(
                "--in-flight", type=click.IntRange(1, 1000), default=in_flight, show_default=True, help="Requests per connection."
            ),
            click.option(
                "--connections", type=click.IntRange(1, 10000), default=connections, show_default=True, help="Connections."
            ),
        ):
            command = option(command)
        return command

    return decorate


def open_bootstrap(address: tuple[str, int]) -> Bootstrap:
    """A connection to the broker named on the command line; raises OSError."""
    try:
        return Bootstrap(address)
    except OSError as error:
        raise ConnectionError(f"{address[0]}:{address[1]}: {error.strerror or error}") from None


def request_version(bootstrap: Bootstrap, key: int, wanted: int | None = None) -> int:
    """The version of an API to use: the one asked for or the newest in common; raises click.UsageError for what cannot be."""
    oldest = OLDEST[key]
    newest = bootstrap.versions.get(key)
    if newest is None or newest < oldest:
        raise click.UsageError(f"the broker does not serve {API_KEYS[key].name} {oldest} or newer")
    if wanted is not None and not oldest <= wanted <= newest:
        raise click.UsageError(
            f"{API_KEYS[key].name} version {wanted} is refused; {oldest} to {newest} is allowed with this broker"
        )
    return newest if wanted is None else wanted


def topic_for(bootstrap: Bootstrap, name: str, partitions: int) -> Topic:
    """The topic, created with ``partitions`` partitions if it is not there; raises KafkaError."""
    try:
        bootstrap.create_topic(name, partitions)
    except KafkaError as error:
        if error.code != ErrorCode.TOPIC_ALREADY_EXISTS:
            raise
        return bootstrap.topic(name)
    topic = bootstrap.topic(name)
    # Clients wait until a new topic is known everywhere; a broker of a cluster may still learn of its leadership.
    time.sleep(0.2)
    return topic
