"""A TLS listener beside a plain one: clients and tools as they come, and what it refuses."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.ports import free_port
from kafkax.config import BrokerConfig, ConfigError
from kafkax.errors import KafkaError
from kafkax.net.tls import TlsSettings, server_context
from kafkax.protocol.messages.api_versions import ApiVersionsRequest
from tests.compat.brokers import RunningBroker, running_broker
from tests.system.wire import Wire
from tests.unit.net.certificates import self_signed

BATCHES = 200


class Tls:
    """A broker with a TLS listener."""

    def __init__(self, broker: RunningBroker, port: int, certificate: Path) -> None:
        self.broker = broker
        self.port = port
        self.certificate = certificate


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    folder = tmp_path_factory.mktemp("tls")
    pem, plain, encrypted = self_signed(folder), free_port(), free_port()
    overrides = {
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{encrypted}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(pem),
    }
    with running_broker(folder / "data", port=plain, overrides=overrides) as broker:
        yield Tls(broker, encrypted, folder / "broker.crt")


def test_a_client_produces_and_consumes_over_tls(tls: Tls, topic: str) -> None:
    common = {
        "bootstrap.servers": f"127.0.0.1:{tls.port}",
        "security.protocol": "SSL",
        "ssl.ca.location": str(tls.certificate),
    }
    producer = Producer({**common, "acks": "all"})
    sent = [b"%d" % number + b"x" * 1000 for number in range(BATCHES)]
    for value in sent:
        producer.produce(topic, value, partition=0)
    assert producer.flush(30) == 0
    consumer = Consumer({**common, "group.id": topic, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    got: list[bytes] = []
    while len(got) < BATCHES:
        found = consumer.consume(BATCHES, 60)
        assert found, f"{len(got)} of {BATCHES} records came"
        got += [message.value() for message in found if not message.error()]
    consumer.close()
    assert got == sent


def test_the_plain_listener_goes_on_beside_it(tls: Tls) -> None:
    with Wire(tls.broker.address) as wire:
        assert wire.ask(ApiVersionsRequest(), 0).error_code == 0


def test_openssl_sees_the_certificate_and_the_newest_version(tls: Tls) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command")
    where = f"127.0.0.1:{tls.port}"
    command = ["openssl", "s_client", "-connect", where, "-CAfile", str(tls.certificate), "-verify_return_error"]
    said = subprocess.run(command, input=b"", capture_output=True, timeout=60, check=True).stdout.decode()
    assert "Verify return code: 0 (ok)" in said
    assert "TLSv1.3" in said


def test_who_speaks_plain_text_to_it_is_closed(tls: Tls) -> None:
    with Wire(f"127.0.0.1:{tls.port}") as wire:
        wire.send(ApiVersionsRequest(), 0)
        assert wire.closed() or wire.closed(), "an alert may come first"


def test_a_client_that_must_show_a_certificate_and_has_none_is_refused(tmp_path: Path) -> None:
    pem, plain, encrypted = self_signed(tmp_path), free_port(), free_port()
    overrides = {
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{encrypted}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(pem),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(tmp_path / "broker.crt"),
        "ssl.client.auth": "required",
    }
    context = ssl.create_default_context(cafile=str(tmp_path / "broker.crt"))
    with running_broker(tmp_path / "data", port=plain, overrides=overrides):

        def ask() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", encrypted), 20) as plain_socket,
                context.wrap_socket(plain_socket, server_hostname="localhost") as encrypted_socket,
            ):
                encrypted_socket.sendall(b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff")
                return encrypted_socket.makefile("rb").read(8)

        try:
            said = ask()
        except (ssl.SSLError, ConnectionError):
            said = b""
        assert said == b""
        context.load_cert_chain(pem)
        assert ask()[4:] == b"\0\0\0\x07"


def config(**overrides: str) -> BrokerConfig:
    named = {key.replace("_", "."): value for key, value in overrides.items()}
    return BrokerConfig.load(None, {"listeners": "SSL://127.0.0.1:0", "security.inter.broker.protocol": "SSL", **named})


def test_key_and_certificate_may_stand_in_the_configs(tmp_path: Path) -> None:
    self_signed(tmp_path)
    key, chain = (tmp_path / "broker.key").read_text(), (tmp_path / "broker.crt").read_text()
    given = config(
        ssl_keystore_type="PEM",
        ssl_keystore_key=key,
        ssl_keystore_certificate_chain=chain,
        ssl_truststore_type="PEM",
        ssl_truststore_certificates=chain,
        ssl_client_auth="required",
    )
    context = server_context(TlsSettings.of(given, "SSL"))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({}, "ssl.keystore.location"),
        ({"ssl_keystore_location": "/absent.jks"}, "ssl.keystore.type"),
        ({"ssl_keystore_type": "PEM", "ssl_keystore_key": "key"}, "ssl.keystore.location"),
        ({"ssl_keystore_type": "PEM", "ssl_keystore_location": "/absent.pem"}, "ssl.keystore.location"),
        ({"ssl_keystore_type": "PEM", "ssl_keystore_key": "a", "ssl_keystore_certificate_chain": "b"}, "ssl.keystore.key"),
        ({"ssl_keystore_type": "PEM", "ssl_keystore_location": "/a", "ssl_truststore_location": "/b"}, "ssl.truststore.type"),
    ],
)
def test_stores_that_cannot_be_used_are_named(overrides: dict[str, str], named: str) -> None:
    with pytest.raises((KafkaError, ConfigError), match=named):
        server_context(TlsSettings.of(config(**overrides), "SSL"))
