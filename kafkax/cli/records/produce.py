"""``kafkax produce``: send the lines of a file, or of stdin, as records."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

import click

from kafkax.cli.options import bootstrap_server, command_config, output_format, pairs
from kafkax.cli.output import progress, show_object
from kafkax.client.producer import Producer
from kafkax.config.values import nearest
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["LineReader", "command"]

_PROPERTIES = {
    "parse.key": "false",
    "parse.headers": "false",
    "ignore.error": "false",
    "key.separator": "\t",
    "headers.delimiter": "\t",
    "headers.separator": ",",
    "headers.key.separator": ":",
    "null.marker": "",
}
_STEP = 1000


class Line(NamedTuple):
    """What a line says."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class LineReader:
    """Reads lines as Kafka's console producer does.

    Args:
        properties: ``parse.key``, ``key.separator``, ``parse.headers``, ``headers.delimiter``, ``headers.separator``,
            ``headers.key.separator``, ``null.marker``, ``ignore.error``; what is absent has Kafka's default.

    Raises:
        click.UsageError: a property is not known.
    """

    def __init__(self, properties: Mapping[str, str]) -> None:
        for name in properties:
            if name not in _PROPERTIES:
                meant = nearest(name, _PROPERTIES)
                raise click.UsageError(
                    f"{name}: unknown property; {f'did you mean {meant}?' if meant else ', '.join(_PROPERTIES)}"
                )
        known = {**_PROPERTIES, **properties}
        self._key = known["parse.key"].lower() == "true"
        self._headers = known["parse.headers"].lower() == "true"
        self._lenient = known["ignore.error"].lower() == "true"
        self._key_separator = known["key.separator"].encode()
        self._headers_delimiter = known["headers.delimiter"].encode()
        self._headers_separator = known["headers.separator"].encode()
        self._header_key_separator = known["headers.key.separator"].encode()
        self._null = known["null.marker"].encode() or None

    @property
    def plain(self) -> bool:
        """Whether a line is just a value."""
        return not (self._key or self._headers or self._null)

    def parse(self, line: bytes, number: int) -> Line:
        """Take a line apart.

        Raises:
            KafkaError: INVALID_RECORD when a separator is missing, unless ``ignore.error``.
        """
        headers: list[tuple[str, bytes | None]] = []
        key: bytes | None = None
        if self._headers:
            text, line = self._split(line, self._headers_delimiter, "headers.delimiter", number)
            if text is not None and text != self._null:
                for part in text.split(self._headers_separator):
                    name, value = self._split(part, self._header_key_separator, "headers.key.separator", number)
                    headers.append(((name or b"").decode("utf-8", "surrogateescape"), self._block(value)))
        if self._key:
            found, line = self._split(line, self._key_separator, "key.separator", number)
            key = None if found is None else self._block(found)
        return Line(key, self._block(line), headers)

    def _split(self, text: bytes, separator: bytes, name: str, number: int) -> tuple[bytes | None, bytes]:
        first, found, rest = text.partition(separator)
        if found:
            return first, rest
        if self._lenient:
            return None, text
        shown = text[:80].decode("utf-8", "replace")
        raise KafkaError(ErrorCode.INVALID_RECORD, f"line {number} has no {name} {separator.decode()!r}: {shown!r}")

    def _block(self, data: bytes) -> bytes | None:
        return None if self._null is not None and data == self._null else data


@click.command("produce")
@bootstrap_server
@command_config
@click.option("--topic", required=True, metavar="NAME", help="Topic to send to.")
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False), help="File whose lines are sent; stdin without it.")
@click.option("--partition", type=click.IntRange(min=0), help="Partition for all records; by key or in turn without it.")
@click.option("--key-separator", metavar="TEXT", help="Each line is a key, this text, and a value.")
@click.option(
    "--property",
    "--reader-property",
    "properties",
    multiple=True,
    metavar="KEY=VALUE",
    help="parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, null.marker.",
)
@click.option(
    "--compression-type",
    "--compression-codec",
    "compression",
    type=click.Choice(["none", "gzip", "snappy", "lz4", "zstd"]),
    default="none",
    help="How batches are compressed.",
)
@click.option("--request-required-acks", "--acks", "acks", default="all", help="all or 1.")
@click.option(
    "--producer-property", "--command-property", "configs", multiple=True, metavar="KEY=VALUE", help="A config of the producer."
)
@output_format
def command(
    bootstrap_server: str,
    command_config: dict[str, str],
    topic: str,
    path: str | None,
    partition: int | None,
    key_separator: str | None,
    properties: tuple[str, ...],
    compression: str,
    acks: str,
    configs: tuple[str, ...],
    form: str | None,
) -> None:
    """Send each line of a file, or of stdin, as a record; its end of line is not part of it.

    Exit status 1 says that some were not delivered.
    """
    wanted = pairs("--property", properties)
    if key_separator is not None:
        wanted = {"parse.key": "true", "key.separator": key_separator, **wanted}
    reader = LineReader(wanted)
    config = {
        "compression.type": compression,
        "acks": acks,
        "linger.ms": 20,
        **command_config,
        **pairs("--producer-property", configs),
        "bootstrap.servers": bootstrap_server,
    }
    size = os.path.getsize(path) if path is not None else None
    source: BinaryIO = open(path, "rb") if path is not None else sys.stdin.buffer  # noqa: SIM115
    begin = time.monotonic()
    with source, Producer(config) as producer, progress("Sending", size, "bytes") as advance:
        sent = _send(producer, source, reader, topic, -1 if partition is None else partition, advance)
    seconds = time.monotonic() - begin
    if sent.failed:
        click.echo(f"kafkax: {sent.failed} of {sent.count} records were not delivered; the first: {sent.error}", err=True)
    if form == "json" or sys.stderr.isatty():
        summary = {"topic": topic, "records": sent.count - sent.failed, "failed": sent.failed, "seconds": round(seconds, 3)}
        show_object(summary, form)
    if sent.failed:
        raise click.exceptions.Exit(1)


class _Sent:
    """Counts of what was sent, and the first error."""

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0
        self.error: KafkaError | None = None

    def report(self, error: KafkaError | None, message: object) -> None:
        """Take a delivery report."""
        if error is not None:
            self.failed += 1
            self.error = self.error or error


def _lines(source: BinaryIO) -> Iterator[bytes]:
    for line in source:
        if line.endswith(b"\n"):
            line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        yield line


def _send(producer: Producer, source: BinaryIO, reader: LineReader, topic: str, partition: int, advance: object) -> _Sent:
    assert callable(advance)
    sent = _Sent()
    size = 0
    for line in _lines(source):
        sent.count += 1
        size += len(line) + 1
        parsed = Line(None, line, []) if reader.plain else reader.parse(line, sent.count)
        while True:
            try:
                producer.produce(topic, parsed.value, parsed.key, partition, sent.report, 0, parsed.headers or None)
                break
            except BufferError:
                producer.poll(0.1)
        if sent.count % _STEP == 0:
            producer.poll(0)
            advance(size)
            size = 0
    advance(size)
    while producer.flush(1.0):
        continue
    return sent
