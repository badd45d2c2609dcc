"""The ``kafkax`` command: finds the sub-command, runs it, turns errors into one line and an exit status.

Sub-commands are imported when they are run, so that ``kafkax broker`` starts without what only the others need.
Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from kafkax import __version__
from kafkax.cli.lazy import LazyGroup
from kafkax.errors import KafkaError, ProtocolError

__all__ = ["COMMANDS", "cli", "main"]

COMMANDS = {
    "broker": ("kafkax.cli.broker.run", "Run a broker."),
    "topics": ("kafkax.cli.admin.topics", "List, create, describe, alter and delete topics."),
    "produce": ("kafkax.cli.records.produce", "Send lines of a file or of stdin as records."),
    "consume": ("kafkax.cli.records.consume", "Print or write the records of a topic."),
    "configs": ("kafkax.cli.admin.configs", "Describe and alter configs."),
    "groups": ("kafkax.cli.admin.groups", "List, describe, delete and reset groups."),
    "get-offsets": ("kafkax.cli.admin.get_offsets", "Show offsets of partitions by time."),
    "delete-records": ("kafkax.cli.admin.delete_records", "Delete records before given offsets."),
    "cluster": ("kafkax.cli.admin.cluster", "Show brokers, controller and partitions in need."),
    "log-dirs": ("kafkax.cli.admin.log_dirs", "Show the log directories of brokers."),
    "leader-election": ("kafkax.cli.admin.leader_election", "Elect leaders."),
    "reassign-partitions": ("kafkax.cli.admin.reassign_partitions", "Move partitions between brokers."),
    "quotas": ("kafkax.cli.admin.quotas", "Describe and alter quotas."),
    "api-versions": ("kafkax.cli.admin.api_versions", "Show which APIs brokers serve."),
    "perf": ("kafkax.cli.perf", "Measure a broker: throughput and latency."),
    "dump-log": ("kafkax.cli.log.dump", "Show what segments, indexes and checkpoints hold."),
    "verify-log": ("kafkax.cli.log.verify", "Check a log directory without a broker."),
}
"""Sub-command to its module, which has it as ``command``, and the line that ``kafkax --help`` shows."""

FAILED, INTERRUPTED = 1, 130


@click.group(cls=LazyGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kafkax", message="%(prog)s %(version)s")
def cli() -> None:
    """A Kafka broker, and tools for Kafka brokers."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status.

    Args:
        arguments: what follows the program's name; the process's own when None.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status.
    """
    try:
        # click hands back the status of a command that ends by ctx.exit or Exit.
        status = cli.main(args=None if arguments is None else list(arguments), prog_name="kafkax", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        import_module("kafkax.cli.output").close_stdout()
        return FAILED
    except KafkaError as error:
        return _fail(f"{error}" if type(error) is not KafkaError else f"{error.code.name}: {error}")
    except ProtocolError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return status if isinstance(status, int) else 0


def _fail(message: str) -> int:
    click.echo(f"kafkax: {message}", err=True)
    return FAILED
