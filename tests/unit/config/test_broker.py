"""A broker's configs: where values come from, what may change, what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from kafkax.config import BrokerConfig, ConfigError, ConfigSource, parse_connection_overrides

LOCAL = {"listeners": "PLAINTEXT://127.0.0.1:9092"}


def load(**settings: str) -> BrokerConfig:
    return BrokerConfig({**LOCAL, **{name.replace("_", "."): text for name, text in settings.items()}})


def test_overrides_stand_above_the_file(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text("listeners=PLAINTEXT://127.0.0.1:9092\nnum.partitions=3\nnode.id=7\n")
    config = BrokerConfig.load(str(path), {"num.partitions": "5"})
    assert (config["num.partitions"], config.node_id) == (5, 7)


@pytest.mark.parametrize(
    ("key", "meant"),
    [("log.retention.hour", "did you mean log.retention.hours?"), ("advertised.listener", "did you mean advertised.listeners?")],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(key: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BrokerConfig({**LOCAL, key: "1"})
    assert str(caught.value) == f"{key}: unknown broker config; {meant}"


def test_retention_comes_from_the_finest_unit_that_is_set() -> None:
    assert load()["log.retention.ms"] == 168 * 3_600_000
    assert load(log_retention_hours="2")["log.retention.ms"] == 2 * 3_600_000
    assert load(log_retention_hours="2", log_retention_minutes="5")["log.retention.ms"] == 5 * 60_000
    assert load(log_retention_minutes="5", log_retention_ms="17")["log.retention.ms"] == 17
    assert load(log_retention_hours="-1")["log.retention.ms"] == -1
    assert load(log_roll_hours="1")["log.roll.ms"] == 3_600_000


def test_synonyms_of_names() -> None:
    assert load(broker_id="4").node_id == 4
    assert load().node_id == -1
    assert load(log_dir="/data").log_dirs == ("/data",)
    assert load(log_dir="/data", log_dirs="/a,/b").log_dirs == ("/a", "/b")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"node_id": "1", "broker_id": "2"}, "broker.id: 2 differs from node.id (1)"),
        ({"group_min_session_timeout_ms": "9", "group_max_session_timeout_ms": "8"}, "9 is above group.max.session.timeout.ms"),
        ({"log_retention_ms": "0"}, "log.retention.ms: retention has to be"),
        ({"log_retention_minutes": "0"}, "log.retention.ms: retention has to be"),
        ({"log_roll_ms": "0"}, "log.roll.ms: value 0 is refused"),
        ({"log_dirs": "/a,"}, "log.dirs: it names no directory, or an empty one"),
        ({"log_dirs": "/a,/a"}, "a directory stands twice"),
        ({"zookeeper_connect": "zk1"}, "host:port[,host:port...][/path] is allowed"),
        ({"zookeeper_connect": "zk1:2181", "broker_id": "1001"}, "above reserved.broker.max.id (1000)"),
        ({"max_connections_per_ip_overrides": "10.0.0.1"}, "host:count pairs are allowed"),
    ],
)
def test_values_that_contradict_each_other(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**settings)
    assert reason in str(caught.value)


def test_zookeeper_addresses() -> None:
    assert load(zookeeper_connect="a:2181,b:2181/kafka")["zookeeper.connect"] == "a:2181,b:2181/kafka"


def test_connections_for_single_addresses() -> None:
    assert parse_connection_overrides("10.0.0.1:5, [::1]:7") == {"10.0.0.1": 5, "::1": 7}


def test_a_change_for_this_broker_stands_above_one_for_all_and_above_the_file() -> None:
    config = load(log_segment_bytes="1000")
    config.set_dynamic(cluster={"log.segment.bytes": "2000"})
    assert config["log.segment.bytes"] == 2000
    config.set_dynamic(broker={"log.segment.bytes": "3000"})
    assert config["log.segment.bytes"] == 3000
    assert [(synonym.value, synonym.source) for synonym in config.synonyms("log.segment.bytes")] == [
        ("3000", ConfigSource.DYNAMIC_BROKER_CONFIG),
        ("2000", ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG),
        ("1000", ConfigSource.STATIC_BROKER_CONFIG),
        ("1073741824", ConfigSource.DEFAULT_CONFIG),
    ]
    config.set_dynamic(broker={}, cluster={})
    assert config["log.segment.bytes"] == 1000


def test_those_who_asked_are_told_what_changed() -> None:
    config = load()
    told: list[frozenset[str]] = []
    config.on_change(told.append)
    config.set_dynamic(cluster={"log.retention.ms": "60000", "num.io.threads": "2"})
    config.set_dynamic(cluster={"log.retention.ms": "60000", "num.io.threads": "3"})
    config.set_dynamic(cluster={"log.retention.ms": "60000", "num.io.threads": "3"})
    assert told == [{"log.retention.ms", "num.io.threads"}, {"num.io.threads"}]


def test_a_bad_change_changes_nothing() -> None:
    config = load()
    with pytest.raises(ConfigError, match=r"log.segment.bytes: value '1' is refused"):
        config.set_dynamic(cluster={"num.io.threads": "2"}, broker={"log.segment.bytes": "1"})
    assert config["num.io.threads"] == 8


def test_what_was_decided_at_start_is_shown_as_set() -> None:
    config = load()
    config.settle("node.id", "1001")
    assert config.node_id == 1001
    assert config.describe(["node.id"])[0].source is ConfigSource.STATIC_BROKER_CONFIG


@pytest.mark.parametrize(
    ("name", "cluster", "reason"),
    [
        ("log.dirs", False, "read-only"),
        ("sasl.jaas.config", False, "names code, a file or an address"),
        ("ssl.keystore.location", False, "names code, a file or an address"),
        ("ssl.client.auth", True, "it is set per broker"),
        ("no.such.config", True, "unknown broker config"),
    ],
)
def test_what_clients_may_not_alter(name: str, cluster: bool, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load().check_alterable([name], cluster=cluster)


def test_what_clients_may_alter() -> None:
    load().check_alterable(["log.retention.ms", "num.network.threads"], cluster=True)
    load().check_alterable(["listener.name.internal.ssl.client.auth"], cluster=False)


def test_all_configs_are_described_with_source_and_synonyms() -> None:
    config = load(log_retention_minutes="120", ssl_keystore_password="hunter2")
    entries = {entry.name: entry for entry in config.describe()}
    assert {"inter.broker.protocol.version", "delete.topic.enable", "log.durability"} <= entries.keys()
    assert "server.max.startup.time.ms" not in entries
    assert entries["delete.topic.enable"].value == "true"
    assert entries["delete.topic.enable"].source is ConfigSource.DEFAULT_CONFIG
    assert entries["log.retention.ms"].value == "7200000"
    assert [synonym.name for synonym in entries["log.retention.ms"].synonyms] == ["log.retention.minutes", "log.retention.hours"]
    password = entries["ssl.keystore.password"]
    assert (password.sensitive, password.value) == (True, None)
    assert "hunter2" not in repr(entries)
    assert list(entries) == sorted(entries)


def test_described_by_name_unknown_ones_are_left_out() -> None:
    assert [entry.name for entry in load().describe(["num.partitions", "nothing"])] == ["num.partitions"]


def test_what_has_no_effect_yet_is_said() -> None:
    config = load(process_roles="broker,controller", sasl_jaas_config="hunter2", background_threads="10")
    assert config.warnings() == [
        "process.roles=broker,controller has no effect yet (Kafka's default is unset)",
        "sasl.jaas.config=a secret has no effect yet (Kafka's default is unset)",
    ]


def test_configs_of_single_listeners() -> None:
    config = load(**{"ssl.client.auth": "none", "listener.name.outside.ssl.client.auth": "required"})
    assert config["listener.name.outside.ssl.client.auth"] == "required"
    assert config["listener.name.inside.ssl.client.auth"] == "none"
    assert config["listener.name.inside.scram-sha-256.sasl.jaas.config"] is None
    with pytest.raises(ConfigError, match="unknown broker config"):
        load(**{"listener.name.outside.log.dirs": "/a"})
