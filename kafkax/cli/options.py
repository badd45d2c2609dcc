"""Options that several commands share, under the names that Kafka's tools use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from kafkax.config import ConfigError, read_properties

__all__ = ["bootstrap_server", "command_config", "output_format", "pairs", "read_command_config"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def bootstrap_server(command: Decorated) -> Decorated:
    """``--bootstrap-server host:port[,host:port...]``, required."""
    return click.option(
        "--bootstrap-server",
        "bootstrap_server",
        required=True,
        metavar="HOST:PORT,...",
        help="Brokers to ask first.",
    )(command)


def command_config(command: Decorated) -> Decorated:
    """``--command-config file``: a properties file with client configs, given to the command as a dict."""
    return click.option(
        "--command-config",
        "command_config",
        type=click.Path(exists=True, dir_okay=False),
        metavar="FILE",
        callback=lambda context, option, value: read_command_config(value),
        help="Properties file with configs of the client.",
    )(command)


def read_command_config(path: str | None) -> dict[str, str]:
    """Client configs of a properties file, none without one."""
    return {} if path is None else read_properties(path)


def output_format(command: Decorated) -> Decorated:
    """``--format table|json|text``: a table at a terminal and text elsewhere unless it is given."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json", "text"]),
        default=None,
        help="How to print: table (at a terminal), text (elsewhere) or json.",
    )(command)


def pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Parse the ``key=value`` texts of an option that may be given several times.

    Raises:
        ConfigError: a text has no ``=`` or no key.
    """
    result: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{option}: {text!r} is refused; key=value is allowed")
        result[key.strip()] = value
    return result
