"""The tables of configs are whole, well formed, and say what Kafka says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kafkax.config import ConfigType, UpdateMode, broker_definitions, topic_definitions
from kafkax.config.values import format_value, parse_value
from tests.reference import reference

ALL = [*broker_definitions().values(), *topic_definitions().values()]

NOT_KAFKAS_DEFAULT = {
    "log.dir": "the recording hides the path",
    "controller.quorum.voters": "3.9 and 4.3 agree, the recording set it",
    "socket.receive.buffer.bytes": "102400 holds less than one large batch: each comes in pieces, at twice the processor time",
    "socket.send.buffer.bytes": "102400 is a tenth of a fetch: its thread sleeps for room again and again, a third dearer",
}
SET_BY_FILE_ONLY = {
    "ssl.keystore.location",
    "ssl.truststore.location",
    "ssl.engine.factory.class",
    "principal.builder.class",
    "sasl.jaas.config",
    "sasl.kerberos.kinit.cmd",
    "metric.reporters",
    "config.providers",
}
"""Kafka lets clients set these; they name code, files or addresses, so kafkax does not."""


@pytest.mark.parametrize("definition", ALL, ids=lambda row: row.name)
def test_a_row_is_well_formed(definition: Any) -> None:
    assert definition.documentation.endswith(".")
    assert definition.name == definition.name.strip()
    value = parse_value(definition, definition.default_text)
    assert parse_value(definition, format_value(value)) == value
    assert all(synonym in broker_definitions() for synonym in definition.synonyms)


def test_topic_configs_change_at_any_time() -> None:
    assert {row.update for row in topic_definitions().values()} == {UpdateMode.TOPIC}


def test_a_topic_config_has_the_type_and_rule_of_its_broker_config() -> None:
    for row in topic_definitions().values():
        if row.synonyms and row.name != "flush.ms":
            broker = broker_definitions()[row.synonyms[0]]
            assert (row.type, row.served) == (broker.type, broker.served), row.name
            assert row.allowed == broker.allowed or row.name in ("retention.ms", "segment.ms", "segment.jitter.ms"), row.name


def recorded(release: str, kind: str) -> dict[str, dict[str, Any]]:
    configs: dict[str, dict[str, Any]] = json.loads(reference(f"configs-{release}.json").read_text())[kind]
    return configs


@pytest.mark.parametrize("release", ["4.3.1", "3.9.2"])
@pytest.mark.parametrize("kind", ["topic", "broker"])
def test_every_config_that_kafka_lists_is_there(release: str, kind: str) -> None:
    ours = broker_definitions() if kind == "broker" else topic_definitions()
    assert recorded(release, kind).keys() - ours.keys() == set()
    assert not any(ours[name].internal for name in recorded(release, kind))


@pytest.mark.parametrize("kind", ["topic", "broker"])
def test_defaults_and_modes_are_those_of_kafka(kind: str) -> None:
    ours = broker_definitions() if kind == "broker" else topic_definitions()
    configs = {**recorded("3.9.2", kind), **recorded("4.3.1", kind)}
    for name, theirs in configs.items():
        row = ours[name]
        assert row.sensitive == theirs["sensitive"], name
        assert not row.alterable or not theirs["read_only"], name
        assert row.alterable == (not theirs["read_only"]) or name in SET_BY_FILE_ONLY, name
        if theirs["source"] == 5 and name not in NOT_KAFKAS_DEFAULT:
            assert row.default_text == theirs["default"], name


def test_kafkax_adds_durability() -> None:
    ours = topic_definitions()["kafkax.durability"]
    assert (ours.type, ours.default_text, ours.synonyms) == (ConfigType.STRING, "flushed", ("log.durability",))
    assert broker_definitions()["log.durability"].update is UpdateMode.CLUSTER_WIDE
