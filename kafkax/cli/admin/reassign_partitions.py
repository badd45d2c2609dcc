"""``kafkax reassign-partitions``: move partitions between brokers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from kafkax.cli.admin.common import action_of, actions, connect, fail_on, settle
from kafkax.cli.admin.delete_records import partitions_of
from kafkax.cli.admin.throttles import set_throttles, take_throttles_away
from kafkax.cli.options import bootstrap_server, command_config, output_format
from kafkax.cli.output import show
from kafkax.client.admin import AdminClient

__all__ = ["command", "spread"]

_ACTIONS = ("generate", "execute", "verify", "cancel", "list")
_JSON = click.Path(exists=True, dir_okay=False, path_type=Path)
Key = tuple[str, int]


def spread(partitions: dict[Key, int], brokers: list[int]) -> dict[Key, list[int]]:
    """Spread partitions over brokers evenly: each leads in turn, replicas follow in the circle.

    Args:
        partitions: number of replicas of each partition; not above the number of brokers.
    """
    plan = {}
    for index, (key, count) in enumerate(sorted(partitions.items())):
        if count > len(brokers):
            raise click.UsageError(f"{key[0]}-{key[1]} has {count} replicas, --broker-list only {len(brokers)} brokers")
        shift = 1 + (index // len(brokers)) % max(len(brokers) - 1, 1)
        first = index % len(brokers)
        others = [(first + shift + step) % len(brokers) for step in range(len(brokers))]
        places = [first, *(place for place in dict.fromkeys(others) if place != first)]
        plan[key] = [brokers[place] for place in places[:count]]
    return plan


@click.command("reassign-partitions")
@bootstrap_server
@command_config
@actions(*_ACTIONS)
@click.option("--topics-to-move-json-file", type=_JSON, help='With --generate: {"topics": [{"topic": "t"}]}')
@click.option("--broker-list", metavar="ID,...", help="With --generate: the brokers to move to.")
@click.option("--reassignment-json-file", type=_JSON, help='{"partitions": [{"topic": "t", "partition": 0, "replicas": [1, 2]}]}')
@click.option(
    "--disallow-replication-factor-change", is_flag=True, help="With --execute: refuse plans with more or fewer replicas."
)
@click.option("--timeout", type=click.IntRange(min=1), default=30_000, help="Milliseconds to wait for moves to begin.")
@click.option("--additional", is_flag=True, help="With --execute: allow it while other moves are under way.")
@click.option("--throttle", type=click.IntRange(min=1), help="With --execute: bytes a second that a broker may use for moves.")
@click.option("--preserve-throttles", is_flag=True, help="With --verify and --cancel: leave the throttles when all is done.")
@output_format
def command(bootstrap_server: str, command_config: dict[str, str], form: str | None, **options: Any) -> None:
    """Move partitions to other brokers."""
    action = action_of(**{name: options[name] for name in _ACTIONS})
    path = options["reassignment_json_file"]
    if action in ("execute", "verify", "cancel") and path is None:
        raise click.UsageError(f"--{action} needs --reassignment-json-file")
    with connect(bootstrap_server, command_config) as admin:
        if action == "generate":
            _generate(admin, options["topics_to_move_json_file"], options["broker_list"])
        elif action == "list":
            show([each._asdict() for each in admin.list_partition_reassignments()], form, _COLUMNS)
        else:
            {"execute": _execute, "verify": _verify, "cancel": _cancel}[action](admin, _moves(path), form, options)


_COLUMNS = ("topic", "partition", "replicas", "adding", "removing")


def _moves(path: Path) -> dict[Key, list[int]]:
    moves = {}
    for key, replicas in partitions_of(path, "replicas").items():
        if not isinstance(replicas, list) or not replicas or not all(isinstance(each, int) for each in replicas):
            raise click.UsageError(f"{path}: {key[0]}-{key[1]} has replicas {replicas!r}; a list of broker ids is allowed")
        moves[key] = replicas
    return moves


def _plan(moves: dict[Key, list[int]]) -> str:
    rows = [{"topic": topic, "partition": number, "replicas": replicas} for (topic, number), replicas in sorted(moves.items())]
    return json.dumps({"version": 1, "partitions": rows})


def _current(admin: AdminClient, keys: list[Key]) -> dict[Key, list[int]]:
    topics = admin.list_topics().topics
    return {
        key: topics[key[0]].partitions[key[1]].replicas
        for key in keys
        if key[0] in topics and key[1] in topics[key[0]].partitions
    }


def _generate(admin: AdminClient, path: Path | None, broker_list: str | None) -> None:
    if path is None or not broker_list:
        raise click.UsageError("--generate needs --topics-to-move-json-file and --broker-list")
    try:
        names = [each["topic"] for each in json.loads(path.read_text())["topics"]]
        brokers = [int(part) for part in broker_list.split(",")]
    except (ValueError, KeyError, TypeError) as error:
        raise click.UsageError(f"{path}, --broker-list {broker_list!r}: {type(error).__name__} {error}") from error
    topics = admin.list_topics().topics
    current = {(name, n): each.replicas for name in names if name in topics for n, each in topics[name].partitions.items()}
    click.echo(f"Current:\n{_plan(current)}\n\nProposed:")
    click.echo(_plan(spread({key: len(replicas) for key, replicas in current.items()}, brokers)))


def _execute(admin: AdminClient, moves: dict[Key, list[int]], form: str | None, options: dict[str, Any]) -> None:
    if not options["additional"] and admin.list_partition_reassignments():
        raise click.UsageError("other moves are under way; --list shows them, --additional adds to them")
    current = _current(admin, list(moves))
    click.echo(f"To go back, execute this:\n{_plan(current)}", err=True)
    if options["throttle"]:
        set_throttles(admin, current, moves, options["throttle"])
    results, errors = settle(
        admin.alter_partition_reassignments(
            moves,
            allow_replication_factor_change=not options["disallow_replication_factor_change"],
            request_timeout=options["timeout"] / 1000,
        ),
        lambda key: f"{key[0]}-{key[1]}",
    )
    rows = [{"topic": key[0], "partition": key[1], "replicas": moves[key]} for key in sorted(results)]
    show(rows, form, ("topic", "partition", "replicas"))
    fail_on(errors)


def _verify(admin: AdminClient, moves: dict[Key, list[int]], form: str | None, options: dict[str, Any]) -> None:
    under_way = {(each.topic, each.partition) for each in admin.list_partition_reassignments()}
    current = _current(admin, list(moves))
    rows = []
    for key, wanted in sorted(moves.items()):
        state = "under way" if key in under_way else "complete" if current.get(key) == wanted else "not as planned"
        rows.append({"topic": key[0], "partition": key[1], "replicas": current.get(key), "state": state})
    show(rows, form, ("topic", "partition", "replicas", "state"))
    if not under_way and not options["preserve_throttles"]:
        take_throttles_away(admin, {topic for topic, _ in moves})
    fail_on([row for row in rows if row["state"] == "not as planned"])


def _cancel(admin: AdminClient, moves: dict[Key, list[int]], form: str | None, options: dict[str, Any]) -> None:
    results, errors = settle(admin.alter_partition_reassignments(dict.fromkeys(moves)), lambda key: f"{key[0]}-{key[1]}")
    show([{"topic": key[0], "partition": key[1]} for key in sorted(results)], form, ("topic", "partition"))
    if not options["preserve_throttles"]:
        take_throttles_away(admin, {topic for topic, _ in moves})
    fail_on(errors)
