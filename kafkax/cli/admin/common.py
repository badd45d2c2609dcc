"""What the administration commands share: their client, their actions, and what they do with errors per item."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import click

from kafkax.client.admin import AdminClient
from kafkax.client.metadata import ClusterMetadata
from kafkax.errors import ErrorCode, KafkaError

__all__ = [
    "action_of",
    "actions",
    "broker_address",
    "chosen_topics",
    "connect",
    "fail_on",
    "settle",
    "split_configs",
    "topic_partition",
]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
K = TypeVar("K")


def connect(bootstrap_server: str, command_config: Mapping[str, str]) -> AdminClient:
    """An administration client for the brokers of the command line."""
    return AdminClient({**command_config, "bootstrap.servers": bootstrap_server})


def actions(*names: str) -> Callable[[Decorated], Decorated]:
    """An option for each action (``--list``, ...), given to the command as one ``chosen`` set of names."""

    def decorate(command: Decorated) -> Decorated:
        decorated: Any = command
        for name in reversed(names):
            decorated = click.option(f"--{name}", name.replace("-", "_"), is_flag=True, help=f"{name.capitalize()}.")(decorated)
        result: Decorated = decorated
        return result

    return decorate


def action_of(**flags: bool) -> str:
    """The one action that was asked for.

    Raises:
        click.UsageError: none, or more than one.
    """
    asked = [name for name, given in flags.items() if given]
    if len(asked) != 1:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in flags)
        raise click.UsageError(f"give exactly one of {options}")
    return asked[0]


def settle(futures: Mapping[K, Future[Any]], name: Callable[[K], str] = str) -> tuple[dict[K, Any], dict[K, KafkaError]]:
    """Wait for futures; the results, and the errors, which are printed to stderr."""
    results: dict[K, Any] = {}
    errors: dict[K, KafkaError] = {}
    for key, future in futures.items():
        try:
            results[key] = future.result()
        except KafkaError as error:
            errors[key] = error
            text = str(error) if name(key) in str(error) else f"{name(key)}: {error}"
            click.echo(f"kafkax: {error.code.name}: {text}", err=True)
    return results, errors


def chosen_topics(metadata: ClusterMetadata, pattern: str | None, *, internal: bool = True, required: bool = True) -> list[str]:
    """Names of the topics that a pattern matches as a whole; all without a pattern.

    Raises:
        KafkaError: UNKNOWN_TOPIC_OR_PARTITION when none match and ``required``.
    """
    try:
        expression = re.compile(pattern or ".*")
    except re.error as error:
        raise click.UsageError(f"--topic {pattern!r} is no regular expression: {error}") from error
    names = [
        name
        for name, topic in sorted(metadata.topics.items())
        if expression.fullmatch(name) and (internal or not topic.is_internal)
    ]
    if not names and pattern is not None and required:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no topic matches {pattern!r}; kafkax topics --list shows them")
    return names


def broker_address(metadata: ClusterMetadata, node: int) -> str:
    """A broker's address by its id."""
    return str(metadata.brokers[node]) if node in metadata.brokers else "-"


def topic_partition(text: str) -> tuple[str, int]:
    """Topic and partition of ``topic:partition``.

    Raises:
        click.UsageError: it is none.
    """
    topic, colon, number = text.rpartition(":")
    if not colon or not topic or not number.isdigit():
        raise click.UsageError(f"{text!r} is refused; topic:partition is allowed")
    return topic, int(number)


def fail_on(errors: Iterable[object] | Sequence[object]) -> None:
    """End with status 1 if there were errors."""
    if list(errors):
        raise click.exceptions.Exit(1)


def split_configs(text: str) -> list[str]:
    """Split ``k1=v1,k2=[v2,v3]`` at the commas outside brackets, and drop the brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [_bare(part.strip()) for part in parts if part.strip()]


def _bare(pair: str) -> str:
    key, equals, value = pair.partition("=")
    return f"{key}={value[1:-1]}" if equals and value.startswith("[") and value.endswith("]") else pair
