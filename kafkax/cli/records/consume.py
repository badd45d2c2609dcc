"""``kafkax consume``: print the records of a topic, or write them to a file."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, BinaryIO

import click

from kafkax._core.message import Message
from kafkax.cli.options import bootstrap_server, command_config, pairs
from kafkax.cli.output import progress
from kafkax.client.consumer import Consumer
from kafkax.client.types import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_STORED,
    TIMESTAMP_LOG_APPEND_TIME,
    TIMESTAMP_NOT_AVAILABLE,
    TopicPartition,
)
from kafkax.config.values import nearest
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["command", "json_formatter", "text_formatter"]

_PROPERTIES = {
    "print.timestamp": "false",
    "print.partition": "false",
    "print.offset": "false",
    "print.epoch": "false",
    "print.headers": "false",
    "print.key": "false",
    "print.value": "true",
    "key.separator": "\t",
    "line.separator": "\n",
    "headers.separator": ",",
    "null.literal": "null",
}
_OFFSETS = {"earliest": OFFSET_BEGINNING, "latest": OFFSET_END, "stored": OFFSET_STORED}
_TIMES = {TIMESTAMP_NOT_AVAILABLE: "NoTimestampType", TIMESTAMP_LOG_APPEND_TIME: "LogAppendTime"}
_MOST_AT_ONCE = 10_000
Formatter = Callable[[Message], bytes]


def text_formatter(properties: Mapping[str, str]) -> Formatter:
    """Records as Kafka's console consumer prints them.

    Raises:
        click.UsageError: a property is not known.
    """
    for name in properties:
        if name not in _PROPERTIES:
            meant = nearest(name, _PROPERTIES)
            raise click.UsageError(f"{name}: unknown property; {f'did you mean {meant}?' if meant else ', '.join(_PROPERTIES)}")
    known = {**_PROPERTIES, **properties}
    shown = {name: known[name].lower() == "true" for name in known if name.startswith("print.")}
    null, between = known["null.literal"].encode(), known["key.separator"].encode()
    end, headers_between = known["line.separator"].encode(), known["headers.separator"].encode()

    def block(data: bytes | None) -> bytes:
        return null if data is None else data

    def headers(message: Message) -> bytes:
        found = message.headers()
        if not found:
            return b"NO_HEADERS"
        return headers_between.join(name.encode("utf-8", "surrogateescape") + b":" + block(value) for name, value in found)

    def timestamp(message: Message) -> bytes:
        kind, at = message.timestamp()
        name = _TIMES.get(kind, "CreateTime")
        return (name if kind == TIMESTAMP_NOT_AVAILABLE else f"{name}:{at}").encode()

    fields: list[tuple[str, Callable[[Message], bytes]]] = [
        ("print.timestamp", timestamp),
        ("print.partition", lambda message: f"Partition:{message.partition()}".encode()),
        ("print.offset", lambda message: f"Offset:{message.offset()}".encode()),
        ("print.epoch", lambda message: f"Epoch:{message.leader_epoch()}".encode()),
        ("print.headers", headers),
        ("print.key", lambda message: block(message.key())),
        ("print.value", lambda message: block(message.value())),
    ]
    chosen = [field for name, field in fields if shown[name]]
    return lambda message: between.join([field(message) for field in chosen]) + end


def json_formatter(message: Message) -> bytes:
    """A record as one line of JSON; bytes that are no UTF-8 stand as ``{"base64": ...}``."""
    kind, at = message.timestamp()
    record = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": None if kind == TIMESTAMP_NOT_AVAILABLE else at,
        "key": _json_block(message.key()),
        "value": _json_block(message.value()),
        "headers": [[name, _json_block(value)] for name, value in message.headers() or ()],
    }
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"


def _json_block(data: bytes | None) -> str | dict[str, str] | None:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


@click.command("consume")
@bootstrap_server
@command_config
@click.option("--topic", metavar="NAME", help="Topic to read.")
@click.option("--include", metavar="REGEX", help="Topics to read, instead of --topic; needs --group.")
@click.option("--group", metavar="ID", help="Read as a member of a group and commit; without it all partitions are read.")
@click.option("--partition", type=click.IntRange(min=0), help="Read this partition only.")
@click.option("--offset", metavar="N|earliest|latest", help="Where to begin in --partition.")
@click.option("--from-beginning", is_flag=True, help="Begin at the first record where nothing is committed.")
@click.option("--max-messages", type=click.IntRange(min=1), help="End after so many records.")
@click.option("--timeout-ms", type=click.IntRange(min=1), help="End when no record comes for so long.")
@click.option("--until-end", is_flag=True, help="End at the offsets that the partitions end at now.")
@click.option("--isolation-level", type=click.Choice(["read_uncommitted", "read_committed"]), default="read_uncommitted")
@click.option("--output", "path", type=click.Path(dir_okay=False, writable=True), help="File to write to; stdout without it.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="text, or one JSON object a line.")
@click.option("--print-key", is_flag=True, help="Short for --property print.key=true.")
@click.option("--print-timestamp", is_flag=True, help="Short for --property print.timestamp=true.")
@click.option("--print-headers", is_flag=True, help="Short for --property print.headers=true.")
@click.option("--property", "--formatter-property", "properties", multiple=True, metavar="KEY=VALUE", help="How text is printed.")
@click.option(
    "--consumer-property", "--command-property", "configs", multiple=True, metavar="KEY=VALUE", help="A consumer's config."
)
def command(bootstrap_server: str, command_config: dict[str, str], **options: Any) -> None:
    """Print the records of a topic, or write them to a file."""
    if (options["topic"] is None) == (options["include"] is None):
        raise click.UsageError("give --topic or --include")
    if options["include"] is not None and options["group"] is None:
        raise click.UsageError("--include needs --group")
    if options["offset"] is not None and options["partition"] is None:
        raise click.UsageError("--offset needs --partition")
    short = {f"print.{name}": "true" for name in ("key", "timestamp", "headers") if options[f"print_{name}"]}
    formatter = (
        json_formatter if options["form"] == "json" else text_formatter({**short, **pairs("--property", options["properties"])})
    )
    config = {
        "auto.offset.reset": "earliest" if options["from_beginning"] else "latest",
        "isolation.level": options["isolation_level"],
        "enable.auto.offset.store": "true",
        **command_config,
        **pairs("--consumer-property", options["configs"]),
        "bootstrap.servers": bootstrap_server,
    }
    if options["group"] is not None:
        config["group.id"] = options["group"]
    with ExitStack() as stack:
        consumer = stack.enter_context(Consumer(config))
        ends = _begin(consumer, options)
        sink: BinaryIO = stack.enter_context(open(options["path"], "wb")) if options["path"] else sys.stdout.buffer
        total = options["max_messages"]
        advance = stack.enter_context(progress("Reading", total)) if options["path"] else None
        _copy(consumer, sink, formatter, options, ends, advance)


def _begin(consumer: Consumer, options: dict[str, Any]) -> dict[tuple[str, int], int] | None:
    """Choose what is read; with --until-end the offsets to stop at."""
    topic = options["topic"]
    if options["group"] is not None and options["partition"] is None:
        if options["until_end"]:
            raise click.UsageError("--until-end does not go with --group; --timeout-ms does")
        consumer.subscribe([f"^(?:{options['include']})$" if topic is None else topic])
        return None
    metadata = consumer.list_topics(topic)
    known = metadata.topics.get(topic)
    if known is None or known.error is not None:
        raise (known.error if known is not None else None) or KafkaError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {topic}"
        )
    numbers = list(known.partitions) if options["partition"] is None else [options["partition"]]
    if options["partition"] is not None and options["partition"] not in known.partitions:
        count = len(known.partitions)
        raise KafkaError(
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{topic} has {count} partitions, no partition {options['partition']}"
        )
    start = OFFSET_BEGINNING if options["from_beginning"] else OFFSET_END
    if options["offset"] is not None:
        start = _offset(options["offset"])
    wanted = [TopicPartition(topic, number, start) for number in numbers]
    ends = None
    if options["until_end"]:
        marks = {each.key: consumer.get_watermark_offsets(each) or (0, 0) for each in wanted}
        ends = {key: last for key, (first, last) in marks.items() if first < last}
    consumer.assign(wanted)
    return ends


def _offset(text: str) -> int:
    if text in _OFFSETS:
        return _OFFSETS[text]
    if not text.isdigit():
        raise click.UsageError(f"--offset {text!r} is refused; a number, earliest or latest is allowed")
    return int(text)


def _copy(
    consumer: Consumer,
    sink: BinaryIO,
    formatter: Formatter,
    options: dict[str, Any],
    ends: dict[tuple[str, int], int] | None,
    advance: Callable[[float], None] | None,
) -> None:
    most, patience = options["max_messages"], options["timeout_ms"]
    count = 0
    last = time.monotonic()
    while (most is None or count < most) and (ends is None or ends):
        room = _MOST_AT_ONCE if most is None else min(_MOST_AT_ONCE, most - count)
        message = consumer.poll(0.2)
        if message is None:
            if patience is not None and (time.monotonic() - last) * 1000 >= patience:
                break
            continue
        batch = [message, *(consumer.consume(room - 1, 0) if room > 1 else ())]
        last = time.monotonic()
        for each in batch:
            error = each.error()
            if error is not None:
                raise error
            if ends is None or (each.offset() or 0) < ends.get((each.topic(), each.partition()), 0):
                sink.write(formatter(each))
                count += 1
        sink.flush()
        if advance is not None:
            advance(len(batch))
        if ends is not None:
            reached = {each.key: each.offset for each in consumer.position([TopicPartition(*key) for key in ends])}
            ends = {key: end for key, end in ends.items() if reached[key] < end}
