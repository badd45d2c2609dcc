"""The client over TLS against kafkax, and over TLS and with every SASL mechanism against Apache Kafka 4.3.1 and 3.9.2."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kafkax
from bench.ports import free_port
from kafkax.client.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AclResourceType,
    NewTopic,
    ResourcePatternType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kafkax.errors import ErrorCode, KafkaError
from tests.compat.brokers import running_broker
from tests.compat.conftest import started
from tests.unit.net.certificates import self_signed

NAMED = os.environ.get("KAFKAX_CLIENT_BROKERS", "")
APACHE = ["kafka-3.9.2"] if NAMED == "kafka-3.9.2" else ["kafka-4.3.1"]
nightly = pytest.mark.skipif(not NAMED, reason="a broker of its own: only in ci/nightly")
LISTENERS = ("PLAINTEXT", "CONTROLLER", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
PASSWORDS = {"alice": "alice=secret,", "bob": "bob-secret"}
MECHANISMS = (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
AUTHORIZER = (
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users=User:ANONYMOUS",
    "allow.everyone.if.no.acl.found=true",
)
Addresses = dict[str, str]


def broker_settings(port: int, certificate: Path, listeners: tuple[str, ...]) -> list[str]:
    """The broker's lines: every protocol on a port of its own, all mechanisms on both of SASL."""
    login = "org.apache.kafka.common.security"
    users = " ".join(f'user_{name}="{password}"' for name, password in PASSWORDS.items())
    jaas = {
        "plain": f"{login}.plain.PlainLoginModule required {users};",
        "scram-sha-256": f"{login}.scram.ScramLoginModule required;",
        "scram-sha-512": f"{login}.scram.ScramLoginModule required;",
        "oauthbearer": f'{login}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
    }
    where = [f"{name}://127.0.0.1:{port + index}" for index, name in enumerate(LISTENERS) if name in listeners]
    return [
        f"listeners={','.join(where)}",
        f"advertised.listeners={','.join(each for each in where if not each.startswith('CONTROLLER'))}",
        "listener.security.protocol.map="
        + ",".join(f"{name}:{'PLAINTEXT' if name == 'CONTROLLER' else name}" for name in listeners),
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        *(f"ssl.{store}.type=PEM" for store in ("keystore", "truststore")),
        f"ssl.keystore.location={certificate.with_suffix('.pem')}",
        f"ssl.truststore.location={certificate}",
        "ssl.client.auth=requested",
        *(
            f"listener.name.{listener}.{mechanism}.sasl.jaas.config={line}"
            for listener in ("sasl_plaintext", "sasl_ssl")
            for mechanism, line in jaas.items()
        ),
    ]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    both = self_signed(tmp_path_factory.mktemp("tls"))
    return both.with_suffix(".crt"), both.with_suffix(".key")


@pytest.fixture(scope="module", params=APACHE)
def addresses(
    request: pytest.FixtureRequest, kafka_tools: Path, tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]
) -> Iterator[Addresses]:
    """Address of each listener of an Apache Kafka."""
    folder, port = tmp_path_factory.mktemp("secured"), free_port(len(LISTENERS) - 1)
    with contextlib.ExitStack() as stack:
        if request.param == "kafka-3.9.2":
            keeper, keeper_port = tmp_path_factory.mktemp("keeper"), free_port()
            stack.enter_context(started(kafka_tools, "zookeeper", keeper, keeper_port))
            lines = broker_settings(port, certificate[0], tuple(each for each in LISTENERS if each != "CONTROLLER"))
            command = ("zkbroker", folder, port, 1, f"127.0.0.1:{keeper_port}", "offsets.topic.replication.factor=1", *lines)
        else:
            command = ("kraft", folder, port, *AUTHORIZER, *broker_settings(port, certificate[0], LISTENERS))
        stack.enter_context(started(kafka_tools, *command))
        found = {name: f"127.0.0.1:{port + index}" for index, name in enumerate(LISTENERS)}
        with kafkax.AdminClient({"bootstrap.servers": found["PLAINTEXT"]}) as admin:
            add_users(admin)
        yield found


def add_users(admin: kafkax.AdminClient) -> None:
    wanted = [
        UserScramCredentialUpsertion(name, ScramCredentialInfo(mechanism, 4096), password)
        for mechanism in MECHANISMS
        for name, password in PASSWORDS.items()
    ]
    for mechanism in MECHANISMS:
        done = admin.alter_user_scram_credentials([each for each in wanted if each.scram_credential_info.mechanism is mechanism])
        assert {user: future.result(30) for user, future in done.items()} == dict.fromkeys(PASSWORDS)


def token(_: str = "") -> tuple[str, float]:
    """An unsigned token, as brokers take them in tests."""

    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    now = int(time.time())
    return f"{part({'alg': 'none'})}.{part({'sub': 'alice', 'iat': now, 'exp': now + 3600})}.", now + 3600.0


def credentials(mechanism: str, user: str = "alice", password: str = "") -> dict[str, Any]:
    if mechanism == "OAUTHBEARER":
        return {"sasl.mechanism": mechanism, "oauth_cb": token}
    return {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password or PASSWORDS[user]}


def round_trip(config: dict[str, Any]) -> None:
    """Create a topic, produce, consume in a group."""
    topic = f"secure-{uuid.uuid4().hex[:8]}"
    with kafkax.AdminClient(config) as admin:
        admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    errors: list[Any] = []
    with kafkax.Producer(config) as producer:
        for number in range(500):
            producer.produce(topic, b"%d" % number, on_delivery=lambda error, _: errors.append(error))
    assert errors == [None] * 500
    with kafkax.Consumer({**config, "group.id": topic, "auto.offset.reset": "earliest"}) as consumer:
        consumer.subscribe([topic])
        values = {message.value() for message in consumer.consume(500, 30)}
    assert len(values) == 500


@pytest.mark.parametrize(
    "authentication", [pytest.param("none", marks=nightly), "requested", pytest.param("required", marks=nightly)]
)
def test_tls_with_kafkax(tmp_path: Path, certificate: tuple[Path, Path], authentication: str) -> None:
    port = free_port()
    listener = {
        "listeners": f"SSL://127.0.0.1:{port}",
        "security.inter.broker.protocol": "SSL",
        "ssl.keystore.type": "PEM",
        "ssl.truststore.type": "PEM",
        "ssl.keystore.location": str(certificate[0].with_suffix(".pem")),
        "ssl.truststore.location": str(certificate[0]),
        "ssl.client.auth": authentication,
    }
    own = {"ssl.certificate.location": str(certificate[0]), "ssl.key.location": str(certificate[1])}
    with running_broker(tmp_path / "data", port=port, overrides=listener):
        config = {"bootstrap.servers": f"127.0.0.1:{port}", "security.protocol": "SSL", "ssl.ca.location": str(certificate[0])}
        round_trip({**config, **own})
        if authentication == "required":
            with kafkax.AdminClient(config) as admin, pytest.raises(KafkaError):
                admin.list_topics(timeout=2)
        else:
            round_trip(config)


@nightly
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_every_mechanism(addresses: Addresses, certificate: tuple[Path, Path], protocol: str, mechanism: str) -> None:
    trust = {"ssl.ca.location": str(certificate[0])} if protocol == "SASL_SSL" else {}
    round_trip({"bootstrap.servers": addresses[protocol], "security.protocol": protocol, **trust, **credentials(mechanism)})


@nightly
def test_tls_with_and_without_a_certificate_of_the_client(addresses: Addresses, certificate: tuple[Path, Path]) -> None:
    config = {"bootstrap.servers": addresses["SSL"], "security.protocol": "SSL", "ssl.ca.location": str(certificate[0])}
    round_trip(config)
    round_trip({**config, "ssl.certificate.location": str(certificate[0]), "ssl.key.location": str(certificate[1])})


@nightly
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_wrong_password_is_an_error_at_once(addresses: Addresses, mechanism: str) -> None:
    config = {"bootstrap.servers": addresses["SASL_PLAINTEXT"], "security.protocol": "SASL_PLAINTEXT"}
    with (
        kafkax.AdminClient({**config, **credentials(mechanism, password="wrong")}) as admin,
        pytest.raises(KafkaError) as error,
    ):
        admin.list_topics(timeout=20)
    assert error.value.code is ErrorCode.SASL_AUTHENTICATION_FAILED


@nightly
def test_a_certificate_that_nobody_vouches_for_is_refused(addresses: Addresses) -> None:
    config = {"bootstrap.servers": addresses["SSL"], "security.protocol": "SSL"}
    with kafkax.AdminClient(config) as admin, pytest.raises(KafkaError, match="certificate"):
        admin.list_topics(timeout=2)


@nightly
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_the_wrong_protocol_is_named_in_the_error(addresses: Addresses, certificate: tuple[Path, Path], protocol: str) -> None:
    other = "SSL" if protocol == "PLAINTEXT" else "PLAINTEXT"
    trust = {"ssl.ca.location": str(certificate[0])} if protocol == "SSL" else {}
    config = {"bootstrap.servers": addresses[other], "security.protocol": protocol, "request.timeout.ms": 3000, **trust}
    with kafkax.AdminClient(config) as admin, pytest.raises(KafkaError, match=r"security\.protocol"):
        admin.list_topics(timeout=5)


@nightly
def test_scram_credentials_are_described_and_deleted(addresses: Addresses) -> None:
    with kafkax.AdminClient({"bootstrap.servers": addresses["PLAINTEXT"]}) as admin:
        carol = UserScramCredentialUpsertion("carol", ScramCredentialInfo(MECHANISMS[0], 5000), b"secret", b"salt")
        assert admin.alter_user_scram_credentials([carol])["carol"].result(30) is None
        described = admin.describe_user_scram_credentials(["carol", "nobody"])
        assert described["carol"].result(30) == ("carol", [ScramCredentialInfo(MECHANISMS[0], 5000)])
        with pytest.raises(KafkaError) as error:
            described["nobody"].result(30)
        assert error.value.code is ErrorCode.RESOURCE_NOT_FOUND
        assert {"alice", "bob", "carol"} <= admin.describe_user_scram_credentials().keys()
        deletion = UserScramCredentialDeletion("carol", MECHANISMS[0])
        assert admin.alter_user_scram_credentials([deletion])["carol"].result(30) is None
        assert "carol" not in admin.describe_user_scram_credentials()


@nightly
def test_credentials_that_are_set_later_serve_the_next_connection(addresses: Addresses) -> None:
    config = {
        "bootstrap.servers": addresses["SASL_PLAINTEXT"],
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "alice",
        "sasl.password": "wrong",
    }
    with kafkax.AdminClient(config) as admin:
        with pytest.raises(KafkaError) as error:
            admin.list_topics(timeout=5)
        assert error.value.code is ErrorCode.SASL_AUTHENTICATION_FAILED
        admin.set_sasl_credentials("alice", PASSWORDS["alice"])
        assert admin.list_topics(timeout=30).brokers


@nightly
@pytest.mark.skipif(APACHE == ["kafka-3.9.2"], reason="set up with an authorizer on 4.3.1 only")
def test_access_control_entries(addresses: Addresses) -> None:
    topic = f"acl-{uuid.uuid4().hex}"
    literal, prefixed = (
        AclBinding(AclResourceType.TOPIC, topic, pattern, "User:dora", "*", AclOperation.READ, AclPermissionType.ALLOW)
        for pattern in (ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED)
    )
    everything = AclBindingFilter(
        AclResourceType.ANY, None, ResourcePatternType.ANY, "User:dora", None, AclOperation.ANY, AclPermissionType.ANY
    )
    with kafkax.AdminClient({"bootstrap.servers": addresses["PLAINTEXT"]}) as admin:
        assert {acl: future.result(30) for acl, future in admin.create_acls([literal, prefixed]).items()} == {
            literal: None,
            prefixed: None,
        }
        end = time.monotonic() + 60
        # The broker hears of it from the controller, after the answer.
        while sorted(admin.describe_acls(everything)) != [literal, prefixed]:
            assert time.monotonic() < end
            time.sleep(0.1)
        wanted = everything._replace(resource_pattern_type=ResourcePatternType.PREFIXED)
        assert admin.delete_acls([wanted])[wanted].result(30) == [prefixed]
        assert admin.delete_acls([everything])[everything].result(30) == [literal]
