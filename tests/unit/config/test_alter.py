"""IncrementalAlterConfigs on what is set."""

from __future__ import annotations

import pytest

from kafkax.config import AlterOperation, BrokerConfig, ConfigChange, ConfigError, TopicConfig, alter
from kafkax.errors import ErrorCode

TOPIC = TopicConfig({}, BrokerConfig({"listeners": "PLAINTEXT://127.0.0.1:9092"}))


def changed(current: dict[str, str], name: str, operation: int, value: str | None = None) -> dict[str, str]:
    return alter(current, [ConfigChange(name, operation, value)], TOPIC)


def test_set_and_delete() -> None:
    assert changed({}, "retention.ms", AlterOperation.SET, "5") == {"retention.ms": "5"}
    assert changed({"retention.ms": "5", "segment.ms": "6"}, "retention.ms", AlterOperation.DELETE) == {"segment.ms": "6"}
    assert changed({}, "retention.ms", AlterOperation.DELETE) == {}


def test_append_and_subtract_begin_at_the_default() -> None:
    assert changed({}, "cleanup.policy", AlterOperation.APPEND, "compact") == {"cleanup.policy": "delete,compact"}
    assert changed({}, "cleanup.policy", AlterOperation.APPEND, "delete") == {"cleanup.policy": "delete"}
    both = {"cleanup.policy": "compact,delete"}
    assert changed(both, "cleanup.policy", AlterOperation.SUBTRACT, "delete") == {"cleanup.policy": "compact"}


@pytest.mark.parametrize(
    ("name", "operation", "value", "code"),
    [
        ("retention.ms", AlterOperation.SET, "x", ErrorCode.INVALID_CONFIG),
        ("retention.ms", AlterOperation.SET, None, ErrorCode.INVALID_REQUEST),
        ("retention.ms", AlterOperation.APPEND, "5", ErrorCode.INVALID_CONFIG),
        ("retention.ms", 9, "5", ErrorCode.INVALID_REQUEST),
        ("cleanup.policy", AlterOperation.APPEND, "shred", ErrorCode.INVALID_CONFIG),
        ("no.such.config", AlterOperation.SET, "5", ErrorCode.INVALID_CONFIG),
    ],
)
def test_what_is_refused(name: str, operation: int, value: str | None, code: ErrorCode) -> None:
    with pytest.raises(ConfigError) as caught:
        changed({}, name, operation, value)
    assert caught.value.code is code


def test_a_key_may_stand_only_once() -> None:
    with pytest.raises(ConfigError) as caught:
        alter({}, [ConfigChange("retention.ms", 0, "1"), ConfigChange("retention.ms", 0, "2")], TOPIC)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
