"""``kafkax groups``: list, describe and delete groups, reset and delete their offsets."""

from __future__ import annotations

import csv
import re
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import click

from kafkax.cli.admin.common import action_of, actions, connect, fail_on, settle
from kafkax.cli.options import bootstrap_server, command_config, output_format
from kafkax.cli.output import show
from kafkax.client.admin import AdminClient, OffsetSpec
from kafkax.client.types import TopicPartition
from kafkax.errors import KafkaError

__all__ = ["command", "duration_ms"]

_ACTIONS = ("list", "describe", "delete", "reset-offsets", "delete-offsets")
_SPECIFICATIONS = ("to_earliest", "to_latest", "to_current", "to_offset", "to_datetime", "by_duration", "shift_by", "from_file")
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?\Z")
_OFFSET_COLUMNS = (
    "group", "topic", "partition", "current_offset", "log_end_offset", "lag", "consumer_id", "host", "client_id",
)  # fmt: skip
_TITLES = {name: name.upper().replace("_", "-") for name in (*_OFFSET_COLUMNS, "leader_epoch", "group_instance_id")} | {
    "assignment_strategy": "ASSIGNMENT-STRATEGY",
    "coordinator": "COORDINATOR (ID)",
    "current_assignment": "CURRENT-ASSIGNMENT",
    "current_epoch": "CURRENT-EPOCH",
    "group_epoch": "GROUP-EPOCH",
    "members": "#MEMBERS",
    "new_offset": "NEW-OFFSET",
    "partitions": "#PARTITIONS",
    "target_assignment": "TARGET-ASSIGNMENT",
    "target_assignment_epoch": "TARGET-ASSIGNMENT-EPOCH",
    "target_epoch": "TARGET-EPOCH",
}
"""As Kafka's tool heads its columns."""
Key = tuple[str, int]


@click.command("groups")
@bootstrap_server
@command_config
@actions(*_ACTIONS)
@click.option("--group", "groups", multiple=True, metavar="ID", help="A group; may be given several times.")
@click.option(
    "--validate-regex",
    metavar="REGEX",
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, regex: _validate(context, regex),
    help="Tell whether members of consumer groups could subscribe to an expression; asks no broker.",
)
@click.option("--all-groups", is_flag=True, help="All groups.")
@click.option(
    "--topic", "topics", multiple=True, metavar="NAME[:PARTITION,...]", help="Topics and partitions whose offsets are meant."
)
@click.option("--all-topics", is_flag=True, help="All topics that the group has offsets of.")
@click.option("--members", is_flag=True, help="With --describe: members instead of offsets.")
@click.option("--offsets", is_flag=True, help="With --describe: offsets, which is the default.")
@click.option(
    "--state",
    is_flag=False,
    flag_value="",
    metavar="[STATES]",
    help="With --describe: state instead of offsets. With --list: only groups in these states, separated by commas.",
)
@click.option("--type", is_flag=False, flag_value="", metavar="[TYPES]", help="With --list: only groups of these types.")
@click.option("--timeout", type=click.IntRange(min=1), default=30_000, help="Milliseconds to wait for groups to be told.")
@click.option("--verbose", is_flag=True, help="With --describe: epochs, and the partitions of members, too.")
@click.option("--to-earliest", is_flag=True, help="Reset to the first offset.")
@click.option("--to-latest", is_flag=True, help="Reset to the end.")
@click.option("--to-current", is_flag=True, help="Reset to what is committed.")
@click.option("--to-offset", type=click.IntRange(min=0), help="Reset to an offset.")
@click.option("--to-datetime", metavar="YYYY-MM-DDTHH:mm:SS.sss", help="Reset to a point in time (UTC where no zone is given).")
@click.option("--by-duration", metavar="PnDTnHnMnS", help="Reset to so long ago.")
@click.option("--shift-by", type=int, help="Reset by so many records, forward or (negative) back.")
@click.option(
    "--from-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Reset to the lines topic,partition,offset of a CSV file; with several groups the group comes first.",
)
@click.option("--export", is_flag=True, help="With --reset-offsets: print CSV that --from-file takes.")
@click.option("--execute", is_flag=True, help="Really reset; otherwise what would be done is shown.")
@click.option("--dry-run", is_flag=True, help="Show what would be reset.")
@output_format
def command(bootstrap_server: str, command_config: dict[str, str], form: str | None, **options: Any) -> None:
    """List, describe and delete groups; reset and delete their offsets."""
    action = action_of(**{name.replace("-", "_"): options[name.replace("-", "_")] for name in _ACTIONS})
    with connect(bootstrap_server, command_config) as admin:
        if action == "list":
            states, types = _names(options["state"]), _names(options["type"])
            listed = admin.list_consumer_groups(states=states, types=types, request_timeout=options["timeout"] / 1000)
            rows = [each._asdict() for each in listed]
            show(rows, form, ("group_id", "state", "type", "protocol_type"))
            return
        groups = [each.group_id for each in admin.list_consumer_groups()] if options["all_groups"] else list(options["groups"])
        if not groups and not options["all_groups"]:
            raise click.UsageError(f"--{action.replace('_', '-')} needs --group or --all-groups")
        work = {"describe": _describe, "delete": _delete, "reset_offsets": _reset, "delete_offsets": _delete_offsets}
        work[action](admin, groups, form, options)


def _validate(context: click.Context, regex: str | None) -> None:
    """Say whether a regular expression is one, and end: with status 1 when it is none."""
    if regex is None:
        return
    from kafkax.coordinator.groups.regexes import check_regex

    try:
        check_regex(regex)
    except KafkaError as error:
        click.echo(f"The regular expression `{regex}` is invalid: {error}")
        context.exit(1)
    click.echo(f"The regular expression `{regex}` is valid.")
    context.exit()


def _names(text: str | None) -> list[str]:
    """The names that are listed with commas between, as the protocol writes them."""
    return [each.strip() for each in (text or "").split(",") if each.strip()]


def _describe(admin: AdminClient, groups: list[str], form: str | None, options: dict[str, Any]) -> None:
    described, errors = settle(admin.describe_consumer_groups(groups, request_timeout=options["timeout"] / 1000))
    if options["state"] is not None:
        _show_states(admin, described, form, options["verbose"])
    elif options["members"]:
        _show_members(described, form, options["verbose"])
    else:
        names = [*_OFFSET_COLUMNS]
        if options["verbose"]:
            names.insert(names.index("current_offset"), "leader_epoch")
        rows = [row for group, each in described.items() for row in _offset_rows(admin, group, each)]
        show(rows, form, names, _TITLES)
    fail_on(errors)


def _show_states(admin: AdminClient, described: Mapping[str, Any], form: str | None, verbose: bool) -> None:
    brokers = admin.list_topics().brokers
    rows = []
    for group, each in described.items():
        node = brokers.get(each.coordinator)
        rows.append(
            {
                "group": group,
                "coordinator": f"{node.host}:{node.port} ({each.coordinator})" if node else str(each.coordinator),
                "assignment_strategy": each.partition_assignor,
                "state": each.state,
                "type": each.type,
                "group_epoch": each.epoch,
                "target_assignment_epoch": each.target_epoch,
                "members": len(each.members),
            }
        )
    epochs = ("group_epoch", "target_assignment_epoch") if verbose else ()
    show(rows, form, ("group", "coordinator", "assignment_strategy", "state", *epochs, "members"), _TITLES)


def _show_members(described: Mapping[str, Any], form: str | None, verbose: bool) -> None:
    rows = [
        {
            "group": group,
            "consumer_id": member.member_id,
            "group_instance_id": member.group_instance_id,
            "host": member.host,
            "client_id": member.client_id,
            "partitions": len(member.assignment),
            "current_epoch": member.epoch,
            "current_assignment": _by_topic(member.assignment),
            "target_epoch": None if member.target_assignment is None else each.target_epoch,
            "target_assignment": _by_topic(member.target_assignment),
        }
        for group, each in described.items()
        for member in each.members
    ]
    static = ("group_instance_id",) if any(row["group_instance_id"] for row in rows) else ()
    detail = ("current_epoch", "current_assignment", "target_epoch", "target_assignment") if verbose else ()
    show(rows, form, ("group", "consumer_id", *static, "host", "client_id", "partitions", *detail), _TITLES)


def _by_topic(assignment: list[Key] | None) -> str | None:
    """Partitions as Kafka's tool writes them: ``topic:0,1;other:2``."""
    if not assignment:
        return None
    numbers: dict[str, list[int]] = {}
    for topic, number in sorted(assignment):
        numbers.setdefault(topic, []).append(number)
    return ";".join(f"{topic}:{','.join(map(str, found))}" for topic, found in numbers.items())


def _offset_rows(admin: AdminClient, group: str, description: Any) -> list[dict[str, Any]]:
    committed = {each.key: each for each in admin.list_consumer_group_offsets(group)}
    owners = {key: member for member in description.members for key in member.assignment}
    keys = sorted(committed.keys() | owners.keys())
    ends, _ = settle(admin.list_offsets(dict.fromkeys(keys, OffsetSpec.LATEST))) if keys else ({}, {})
    rows = []
    for key in keys:
        found, end, owner = committed.get(key), ends.get(key), owners.get(key)
        current = -1 if found is None else found.offset
        rows.append(
            {
                "group": group,
                "topic": key[0],
                "partition": key[1],
                "leader_epoch": found.leader_epoch if found is not None and found.leader_epoch >= 0 else None,
                "current_offset": current if current >= 0 else None,
                "log_end_offset": end.offset if end is not None else None,
                "lag": end.offset - current if end is not None and current >= 0 else None,
                "consumer_id": owner.member_id if owner is not None else None,
                "host": owner.host if owner is not None else None,
                "client_id": owner.client_id if owner is not None else None,
            }
        )
    return rows


def _delete(admin: AdminClient, groups: list[str], form: str | None, options: dict[str, Any]) -> None:
    results, errors = settle(admin.delete_consumer_groups(groups))
    if form == "json":
        show([{"group": group} for group in results], form, ("group",))
    fail_on(errors)


def _keys(admin: AdminClient, group: str, options: dict[str, Any]) -> list[Key]:
    """The partitions that --topic and --all-topics name."""
    if options["all_topics"]:
        return sorted(each.key for each in admin.list_consumer_group_offsets(group))
    if not options["topics"]:
        raise click.UsageError("give --topic or --all-topics")
    metadata = admin.list_topics()
    keys: list[Key] = []
    for text in options["topics"]:
        topic, _, numbers = text.partition(":")
        if topic not in metadata.topics:
            raise click.UsageError(f"--topic {text!r}: there is no topic {topic}")
        keys += (
            [(topic, int(each)) for each in numbers.split(",")]
            if numbers
            else [(topic, n) for n in metadata.topics[topic].partitions]
        )
    return keys


def _reset(admin: AdminClient, groups: list[str], form: str | None, options: dict[str, Any]) -> None:
    given = [name for name in _SPECIFICATIONS if options[name] not in (None, False)]
    if len(given) != 1:
        raise click.UsageError(f"give exactly one of {', '.join('--' + name.replace('_', '-') for name in _SPECIFICATIONS)}")
    if options["execute"] and options["dry_run"]:
        raise click.UsageError("--execute and --dry-run contradict each other")
    rows: list[dict[str, Any]] = []
    failed: list[KafkaError] = []
    planned = _planned(options["from_file"], groups) if options["from_file"] else {}
    for group in groups:
        offsets = _targets(admin, group, given[0], options, planned.get(group, {}))
        if options["execute"] and offsets:
            wanted = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
            failed += settle(admin.alter_consumer_group_offsets(group, wanted), lambda key: f"{key[0]}-{key[1]}")[1].values()
        rows += [{"group": group, "topic": key[0], "partition": key[1], "new_offset": offset} for key, offset in offsets.items()]
    columns = ("group", "topic", "partition", "new_offset")
    if options["export"]:
        # as Apache Kafka's tool does, the group is left out where there is only one
        csv.writer(sys.stdout, lineterminator="\n").writerows([row[name] for name in columns[len(groups) == 1 :]] for row in rows)
    else:
        show(rows, form, columns, _TITLES)
    if not options["execute"]:
        click.echo("Nothing was changed; --execute resets these offsets.", err=True)
    fail_on(failed)


def _planned(path: str, groups: list[str]) -> dict[str, dict[Key, int]]:
    """The offsets that a CSV file plans, by group.

    Raises:
        click.UsageError: a line is none.
    """
    planned: dict[str, dict[Key, int]] = {group: {} for group in groups}
    with open(path, newline="", encoding="utf-8") as lines:
        for number, row in enumerate(csv.reader(lines), 1):
            if not row:
                continue
            group, *rest = row if len(row) == 4 else (groups[0], *row) if len(groups) == 1 else ("",)
            if len(rest) != 3 or not rest[1].isdigit() or not rest[2].isdigit():
                form = "topic,partition,offset" if len(groups) == 1 else "group,topic,partition,offset"
                raise click.UsageError(f"--from-file {path}, line {number}: {','.join(row)!r} is refused; {form} is allowed")
            if group in planned:
                planned[group][rest[0], int(rest[1])] = int(rest[2])
    return planned


def _targets(admin: AdminClient, group: str, how: str, options: dict[str, Any], planned: dict[Key, int]) -> dict[Key, int]:
    """Where each partition's offset shall go, within what the partition has."""
    if how == "from_file":
        keys, wanted = list(planned), planned
    else:
        keys, wanted = _keys(admin, group, options), {}
    first = _offsets(admin, dict.fromkeys(keys, int(OffsetSpec.EARLIEST)))
    last = _offsets(admin, dict.fromkeys(keys, int(OffsetSpec.LATEST)))
    if how in ("to_current", "shift_by"):
        shift = options["shift_by"] or 0
        committed = {each.key: each.offset for each in admin.list_consumer_group_offsets(group)}
        wanted = {key: committed[key] + shift for key in keys if committed.get(key, -1) >= 0}
    elif how in ("to_datetime", "by_duration"):
        at = (
            _milliseconds(options["to_datetime"]) if how == "to_datetime" else time.time_ns() // 10**6 - duration_ms(options[how])
        )
        found = _offsets(admin, dict.fromkeys(keys, at))
        wanted = {key: found[key] if found.get(key, -1) >= 0 else last[key] for key in keys if key in last}
    elif how == "to_offset":
        wanted = dict.fromkeys(keys, options["to_offset"])
    elif how != "from_file":
        wanted = dict(first if how == "to_earliest" else last)
    return {key: min(max(offset, first[key]), last[key]) for key, offset in wanted.items() if key in first and key in last}


def _offsets(admin: AdminClient, wanted: Mapping[Key, int]) -> dict[Key, int]:
    results, _ = settle(admin.list_offsets(wanted), lambda key: f"{key[0]}-{key[1]}") if wanted else ({}, {})
    return {key: result.offset for key, result in results.items()}


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"--to-datetime {text!r} is refused; 2026-01-31T13:00:00.000 is allowed") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() * 1000)


def duration_ms(text: str) -> int:
    """Milliseconds of an ISO 8601 duration of days to seconds, like ``P1DT2H3M4S``.

    Raises:
        click.UsageError: it is none.
    """
    match = _DURATION.match(text)
    if match is None or not any(match.groups()):
        raise click.UsageError(f"--by-duration {text!r} is refused; PnDTnHnMnS is allowed")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000


def _delete_offsets(admin: AdminClient, groups: list[str], form: str | None, options: dict[str, Any]) -> None:
    failed: list[KafkaError] = []
    rows = []
    for group in groups:
        keys = _keys(admin, group, options)
        partitions = [TopicPartition(*key) for key in keys]
        results, errors = settle(admin.delete_consumer_group_offsets(group, partitions), lambda key: f"{key[0]}-{key[1]}")
        failed += errors.values()
        rows += [{"group": group, "topic": key[0], "partition": key[1]} for key in results]
    show(rows, form, ("group", "topic", "partition"))
    fail_on(failed)
