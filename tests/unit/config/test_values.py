"""Text to typed values and back; what is refused, and in which words."""

from __future__ import annotations

import pytest

from kafkax.config import ConfigError, Password, broker_definitions, topic_definitions
from kafkax.config.values import Value, format_value, parse_value

BROKER, TOPIC = broker_definitions(), topic_definitions()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("log.segment.bytes", " 2000000 ", 2_000_000),
        ("log.segment.bytes", "+15", 15),
        ("log.flush.interval.messages", "9223372036854775807", 2**63 - 1),
        ("offsets.topic.replication.factor", "3", 3),
        ("auto.create.topics.enable", "TRUE", True),
        ("log.cleaner.min.cleanable.ratio", "0.25", 0.25),
        ("log.cleaner.io.max.bytes.per.second", "1.7976931348623157E308", 1.7976931348623157e308),
        ("log.dirs", "/a , /b", ("/a", "/b")),
        ("log.cleanup.policy", "", ()),
        ("compression.type", "zstd", "zstd"),
        ("compression.gzip.level", "-1", -1),
        ("group.consumer.migration.policy", "Upgrade", "Upgrade"),
        ("inter.broker.protocol.version", "3.9", "3.9"),
        ("ssl.keystore.password", " secret ", Password(" secret ")),
    ],
)
def test_values_are_typed(name: str, text: str, value: Value) -> None:
    assert parse_value(BROKER[name], text) == value


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("log.segment.bytes", "1g", "value '1g' is refused; it takes a whole number of 32 bits"),
        ("log.segment.bytes", "2147483648", "a whole number of 32 bits"),
        ("log.segment.bytes", "1_000", "a whole number of 32 bits"),
        ("log.segment.bytes", "13", "allowed: 14 or more"),
        ("log.flush.interval.messages", "9223372036854775808", "a whole number of 64 bits"),
        ("offsets.topic.replication.factor", "40000", "a whole number of 16 bits"),
        ("auto.create.topics.enable", "yes", "it takes true or false"),
        ("log.cleaner.min.cleanable.ratio", "1.5", "allowed: 0 to 1"),
        ("log.cleaner.min.cleanable.ratio", "nan", "it takes a number"),
        ("compression.gzip.level", "0", "allowed: -1 or 1 to 9"),
        ("compression.type", "lzma", "allowed: uncompressed, zstd, lz4, snappy, gzip, producer"),
        ("log.cleanup.policy", "compact,shrink", "allowed: compact, delete"),
        ("group.consumer.migration.policy", "sideways", "allowed: DISABLED, DOWNGRADE"),
        ("inter.broker.protocol.version", "latest", "a Kafka release"),
        ("authorizer.class.name", "com.example.Allow", "only '' is offered"),
        ("create.topic.policy.class.name", "com.example.Policy", "it has to stay unset"),
        ("log.durability", "perhaps", "allowed: flushed, replicated"),
    ],
)
def test_what_is_refused_is_named_with_what_is_allowed(name: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_value(BROKER[name], text)
    assert str(caught.value).startswith(f"{name}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(("text", "good"), [("*", True), ("0:1,1:2", True), ("", True), ("x", False), ("*,0:1", False)])
def test_throttled_replicas(text: str, good: bool) -> None:
    row = TOPIC["leader.replication.throttled.replicas"]
    if good:
        assert format_value(parse_value(row, text)) == text
    else:
        with pytest.raises(ConfigError, match="partition:broker pairs"):
            parse_value(row, text)


def test_a_secret_is_neither_printed_nor_shown() -> None:
    secret = parse_value(BROKER["ssl.keystore.password"], "hunter2")
    assert "hunter2" not in repr(secret)
    assert "hunter2" not in f"{secret}"
    assert format_value(secret) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (True, "true"),
        (5, "5"),
        (0.5, "0.5"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (("a", "b"), "a,b"),
        ((), ""),
    ],
)
def test_text_of_a_value_is_kafkas(value: Value, text: str | None) -> None:
    assert format_value(value) == text
