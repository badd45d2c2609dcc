"""``kafkax dump-log``: what the files of a log directory hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from kafkax.storage.dump import DumpOptions, Entry, dump_file, files_below

__all__ = ["command"]


@click.command("dump-log")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FILE | FOLDER]...")
@click.option("--files", default="", metavar="FILE,...", help="Files or folders, parted by commas, instead of arguments.")
@click.option("--deep-iteration", is_flag=True, help="Show records as well as batches.")
@click.option("--print-data-log", is_flag=True, help="Show keys, values and headers of records too.")
@click.option("--offsets-decoder", "decode", flag_value="__consumer_offsets", help="Decode records as the offsets topic's.")
@click.option("--transaction-log-decoder", "decode", flag_value="__transaction_state", help="Decode as the transactions topic's.")
@click.option(
    "--share-group-state-decoder", "decode", flag_value="__share_group_state", help="Decode as the share groups topic's."
)
@click.option("--max-bytes", type=click.IntRange(min=1), help="Look at no more than this many bytes of each log file.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="text, or one JSON object a line.")
def command(
    paths: tuple[Path, ...],
    files: str,
    deep_iteration: bool,
    print_data_log: bool,
    decode: str | None,
    max_bytes: int | None,
    form: str,
) -> None:
    """Show what segments, indexes, snapshots and checkpoints hold.

    A folder stands for all files in it. The records of Kafka's internal topics are decoded when their folder tells the topic.
    Exit status 1 says that something is damaged.
    """
    chosen = [*paths, *(Path(name) for name in files.split(",") if name)]
    if not chosen:
        raise click.UsageError("name at least one file or folder")
    options = DumpOptions(
        deep=deep_iteration or print_data_log or decode is not None,
        payload=print_data_log or decode is not None,
        decode=decode,
        max_bytes=max_bytes,
    )
    damaged = 0
    for path in (file for each in chosen for file in files_below(each)):
        for entry in dump_file(path, options):
            damaged += entry["kind"] == "damage"
            click.echo(json.dumps(entry, ensure_ascii=False) if form == "json" else _line(entry))
    if damaged:
        raise click.exceptions.Exit(1)


def _line(entry: Entry) -> str:
    """One entry as a line of text."""
    fields = dict(entry)
    kind = fields.pop("kind")
    if kind == "file":
        return f"\n{fields['path']} ({fields['size']} bytes)"
    if kind == "damage":
        return f"DAMAGED {fields['path']}: {fields['problem']}"
    indent = "  | " if kind == "record" else ""
    return f"{indent}{kind}: " + " ".join(f"{name}: {_text(value)}" for name, value in fields.items() if value is not None)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
