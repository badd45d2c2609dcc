from __future__ import annotations

import pytest

from kafkax.client.configs import client_config
from kafkax.config import ConfigError

B = {"bootstrap.servers": "a:1"}


@pytest.mark.parametrize(
    ("owner", "given", "says"),
    [
        ("P", {"bootstrap.server": "x"}, "bootstrap.server='x': unknown producer config; did you mean bootstrap.servers?"),
        ("P", {}, "bootstrap.servers is not set"),
        ("P", {**B, "group.id": "g"}, "a config of the consumer, not of the producer"),
        ("P", {**B, "linger.ms": "soon"}, "linger.ms='soon' is refused; allowed: a number from 0 to 900000"),
        ("P", {**B, "batch.size": 0}, "batch.size=0 is refused"),
        ("P", {**B, "compression.type": "rar"}, "'none', 'gzip', 'snappy', 'lz4', 'zstd'"),
        ("P", {**B, "acks": 1, "enable.idempotence": True}, "enable.idempotence contradicts acks=1; it needs all"),
        ("C", {**B, "heartbeat.interval.ms": 9000, "session.timeout.ms": 6000}, "must be below session.timeout.ms=6000"),
        ("C", {**B, "partition.assignment.strategy": "range,cooperative-sticky"}, "cooperative-sticky goes with no other"),
        ("C", {**B, "error_cb": 3}, "allowed: a function"),
        ("A", {"bootstrap.servers": "a:port"}, "bootstrap.servers: 'a:port' is refused; host:port is allowed"),
    ],
)
def test_what_is_wrong_is_named(owner: str, given: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        client_config(owner, given).servers  # noqa: B018
    assert says in str(error.value)


def test_texts_are_converted_and_aliases_known() -> None:
    config = client_config("P", {**B, "queue.buffering.max.ms": "7", "acks": "all", "enable.idempotence": "true"})
    assert (config["linger.ms"], config["acks"], config["enable.idempotence"]) == (7.0, -1, True)


def test_idempotence_is_on_unless_something_hinders_it() -> None:
    assert client_config("P", B)["enable.idempotence"] is True
    assert client_config("P", {**B, "acks": "1"})["enable.idempotence"] is False


def test_addresses() -> None:
    servers = client_config("A", {"bootstrap.servers": "a, b:2 ,PLAINTEXT://[::1]:3"}).servers
    assert servers == [("a", 9092), ("b", 2), ("::1", 3)]
