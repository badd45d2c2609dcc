"""What commands print: rows as a table, text or JSON on stdout, progress on stderr.

rich is imported only where it draws: for a table or a progress bar at a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

__all__ = ["close_stdout", "progress", "show", "show_object"]

Row = Mapping[str, Any]


def show(
    rows: Sequence[Row],
    form: str | None,
    columns: Sequence[str] | None = None,
    titles: Mapping[str, str] | None = None,
) -> None:
    """Print rows in the form that was asked for.

    Args:
        rows: each a mapping from column to value; JSON keeps the types, the other forms print text.
        form: ``table``, ``text`` or ``json``; None for a table at a terminal and text elsewhere.
        columns: which columns, in order; those of the first row when None.
        titles: of columns that are not headed by their names; JSON has none.
    """
    names = list(columns) if columns is not None else list(rows[0]) if rows else []
    chosen = form or ("table" if sys.stdout.isatty() else "text")
    if chosen == "json":
        click.echo(_json([{name: row.get(name) for name in names} for row in rows]))
    elif chosen == "table":
        _show_table(rows, names, titles or {})
    else:
        _show_text(rows, names, titles or {})


def show_object(value: Mapping[str, Any], form: str | None) -> None:
    """Print one object: as JSON, or one line per key."""
    if form == "json":
        click.echo(_json(value))
        return
    width = max((len(name) for name in value), default=0)
    for name, item in value.items():
        click.echo(f"{name:<{width}}  {_text(item)}")


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(_text(element) for element in value)
    return str(value)


def _show_text(rows: Sequence[Row], names: Sequence[str], titles: Mapping[str, str]) -> None:
    """Aligned columns without lines, easily cut by other tools."""
    cells = [[titles.get(name, name.upper()) for name in names], *([_text(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(names))]
    for line in cells if names else []:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _show_table(rows: Sequence[Row], names: Sequence[str], titles: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(header_style="bold")
    for name in names:
        numeric = bool(rows) and all(isinstance(row.get(name), (int, float)) for row in rows)
        table.add_column(titles.get(name, name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(_text(row.get(name))) for name in names))
    Console(file=sys.stdout).print(table)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


@contextmanager
def progress(description: str, total: float | None, unit: str = "") -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr while the block runs, if stderr is a terminal; otherwise nothing is printed.

    Args:
        description: what is being done.
        total: how much there is to do; None when that is not known.
        unit: ``bytes`` shows sizes and speed in bytes; anything else counts.

    Yields:
        A function that is called with how much more was done.
    """
    if not sys.stderr.isatty():
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as SpeedColumn

    counted = (DownloadColumn(), SpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(),)
    layout = (TextColumn("{task.description}"), BarColumn(), *counted, TimeRemainingColumn())
    with Progress(*layout, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount: bar.advance(task, amount)


def close_stdout() -> None:
    """Point stdout at nothing, after its reader has gone, so that the interpreter's last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
