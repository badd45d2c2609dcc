"""What a broker listens on and what it advertises."""

from __future__ import annotations

import pytest

from kafkax.config import BrokerConfig, ConfigError


def load(**settings: str) -> BrokerConfig:
    static = {name.replace("_", "."): text for name, text in settings.items()}
    return BrokerConfig(static, host_name=lambda: "machine.example.com")


def test_an_address_is_advertised_as_it_was_written() -> None:
    config = load(listeners="PLAINTEXT://127.0.0.1:9092")
    assert [str(endpoint) for endpoint in config.advertised_listeners] == ["PLAINTEXT://127.0.0.1:9092"]
    assert config.inter_broker_listener == "PLAINTEXT"


def test_without_a_host_every_interface_is_bound_and_the_machines_name_advertised() -> None:
    config = load()
    assert [str(endpoint) for endpoint in config.listeners] == ["PLAINTEXT://:9092"]
    assert [str(endpoint) for endpoint in config.advertised_listeners] == ["PLAINTEXT://machine.example.com:9092"]


def test_a_machine_name_that_does_not_resolve_is_not_advertised() -> None:
    with pytest.raises(ConfigError, match="name does not resolve; set advertised.listeners"):
        BrokerConfig({}, host_name=lambda: None)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_every_interface_needs_advertised_listeners(host: str) -> None:
    with pytest.raises(ConfigError, match="clients cannot connect to .*; set advertised.listeners"):
        load(listeners=f"PLAINTEXT://{host}:9092")
    config = load(listeners=f"PLAINTEXT://{host}:9092", advertised_listeners="PLAINTEXT://broker1:9092")
    assert config.advertised_listeners[0].host == "broker1"


def test_names_of_our_own_and_ipv6() -> None:
    config = load(
        listeners="inside://[::1]:9092,Outside://127.0.0.1:9093",
        listener_security_protocol_map="INSIDE:PLAINTEXT,outside:plaintext",
        inter_broker_listener_name="inside",
    )
    assert [tuple(endpoint) for endpoint in config.listeners] == [
        ("INSIDE", "PLAINTEXT", "::1", 9092),
        ("OUTSIDE", "PLAINTEXT", "127.0.0.1", 9093),
    ]
    assert str(config.listeners[0]) == "INSIDE://[::1]:9092"
    assert config.inter_broker_listener == "INSIDE"


def test_a_controllers_listener_in_a_kraft_file_is_left_out() -> None:
    config = load(
        listeners="PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
        advertised_listeners="PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
        controller_listener_names="CONTROLLER",
    )
    assert [endpoint.name for endpoint in config.listeners] == ["PLAINTEXT"]
    assert [str(endpoint) for endpoint in config.advertised_listeners] == ["PLAINTEXT://localhost:9092"]


def test_the_same_port_for_ipv4_and_ipv6() -> None:
    names = "A:PLAINTEXT,B:PLAINTEXT,PLAINTEXT:PLAINTEXT"
    config = load(listeners="A://127.0.0.1:9092,B://[::1]:9092", listener_security_protocol_map=names)
    assert len(config.listeners) == 2


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"listeners": "127.0.0.1:9092"}, "NAME://host:port is allowed"),
        ({"listeners": "PLAINTEXT://127.0.0.1:99999"}, "port from 0 to 65535"),
        ({"listeners": "PLAINTEXT://127.0.0.1"}, "NAME://host:port is allowed"),
        ({"listeners": ""}, "may not be empty"),
        ({"listeners": "INSIDE://127.0.0.1:9092"}, "add INSIDE:PLAINTEXT to listener.security.protocol.map"),
        ({"listeners": "PLAINTEXT://127.0.0.1:1,PLAINTEXT://127.0.0.1:2"}, "PLAINTEXT stands twice"),
        ({"listener.security.protocol.map": "PLAINTEXT"}, "pairs NAME:PROTOCOL are allowed"),
        ({"listener.security.protocol.map": "PLAINTEXT:CLEAR"}, "protocol 'CLEAR' of PLAINTEXT is unknown"),
        ({"listener.security.protocol.map": "A:SSL,A:SSL"}, "A stands twice"),
        ({"advertised.listeners": "PLAINTEXT://0.0.0.0:9092"}, "no address that a client can connect to"),
        ({"advertised.listeners": "SSL://broker1:9092"}, "has no listener; listeners has PLAINTEXT"),
        ({"inter.broker.listener.name": "OTHER"}, "not among the advertised listeners"),
        ({"inter.broker.listener.name": "PLAINTEXT", "security.inter.broker.protocol": "PLAINTEXT"}, "exclude each other"),
        ({"security.inter.broker.protocol": "SSL"}, "no advertised listener speaks SSL"),
        ({"controller.listener.names": "PLAINTEXT"}, "add one for clients"),
        (
            {"listeners": "A://127.0.0.1:1,B://127.0.0.1:1", "listener.security.protocol.map": "A:PLAINTEXT,B:PLAINTEXT"},
            "share port 1",
        ),
    ],
)
def test_what_is_refused(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BrokerConfig(settings, host_name=lambda: "machine.example.com")
    assert reason in str(caught.value)
