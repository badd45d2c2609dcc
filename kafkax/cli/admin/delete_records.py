"""``kafkax delete-records``: delete records before given offsets."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kafkax.cli.admin.common import connect, fail_on, settle, topic_partition
from kafkax.cli.options import bootstrap_server, command_config, output_format
from kafkax.cli.output import show

__all__ = ["command", "partitions_of"]


def partitions_of(path: Path, field: str) -> dict[tuple[str, int], object]:
    """A field of each element of ``partitions`` in a JSON file, by topic and partition.

    Raises:
        click.UsageError: the file does not have that form.
    """
    try:
        return {(each["topic"], int(each["partition"])): each.get(field) for each in json.loads(path.read_text())["partitions"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        form = '{"partitions": [{"topic": "t", "partition": 0, ...}]}'
        raise click.UsageError(f"{path}: {type(error).__name__} {error}; {form} is allowed") from error


@click.command("delete-records")
@bootstrap_server
@command_config
@click.option(
    "--offset-json-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='{"partitions": [{"topic": "t", "partition": 0, "offset": 10}]}; offset -1 deletes everything.',
)
@click.option(
    "--before", multiple=True, metavar="TOPIC:PARTITION:OFFSET", help="The same without a file; may be given several times."
)
@output_format
def command(
    bootstrap_server: str,
    command_config: dict[str, str],
    offset_json_file: Path | None,
    before: tuple[str, ...],
    form: str | None,
) -> None:
    """Delete the records before given offsets."""
    offsets: dict[tuple[str, int], int] = {}
    if offset_json_file is not None:
        for key, offset in partitions_of(offset_json_file, "offset").items():
            if not isinstance(offset, int):
                raise click.UsageError(f"{offset_json_file}: {key[0]}-{key[1]} has offset {offset!r}; a whole number is allowed")
            offsets[key] = offset
    for text in before:
        place, _, offset_text = text.rpartition(":")
        try:
            offsets[topic_partition(place)] = int(offset_text)
        except ValueError:
            raise click.UsageError(f"--before {text!r} is refused; topic:partition:offset is allowed") from None
    if not offsets:
        raise click.UsageError("give --offset-json-file or --before")
    with connect(bootstrap_server, command_config) as admin:
        results, errors = settle(admin.delete_records(offsets), lambda key: f"{key[0]}-{key[1]}")
    rows = [{"topic": topic, "partition": number, "low_watermark": low} for (topic, number), low in sorted(results.items())]
    show(rows, form, ("topic", "partition", "low_watermark"))
    fail_on(errors)
