"""``kafkax verify-log``: checks a log directory without a broker."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from kafkax.cli.output import progress, show_object
from kafkax.storage.names import LOG_SUFFIX
from kafkax.storage.verify import verify

__all__ = ["command"]


@click.command("verify-log")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--deep", is_flag=True, help="Decompress and parse every record as well.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="text, or one JSON object.")
def command(folder: Path, deep: bool, form: str) -> None:
    """Check every checksum, and indexes, snapshots and epochs against the log.

    FOLDER is a partition's folder or a whole log directory. Nothing is changed. Exit status 1 says that something is wrong.
    """
    total = sum(path.stat().st_size for path in folder.rglob("*" + LOG_SUFFIX))
    with progress("verifying", total, "bytes") as advance:
        result = verify(folder, deep=deep, progress=advance)
    if form == "json":
        show_object({**asdict(result), "problems": [problem._asdict() for problem in result.problems]}, form)
    else:
        for problem in result.problems:
            click.echo(f"{problem.path}: {problem.problem}", err=True)
        click.echo(
            f"{result.partitions} partitions, {result.segments} segments, {result.batches} batches, {result.records} records, "
            f"{result.bytes} bytes: {len(result.problems) or 'no'} problem{'s' if len(result.problems) > 1 else ''}"
        )
    if result.problems:
        raise click.exceptions.Exit(1)
