"""What a client makes of brokers that misbehave: an error that names the broker, in time, and no crash."""

from __future__ import annotations

import struct
from typing import Any

import pytest

import kafkax
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.api_versions import ApiVersion, ApiVersionsResponse
from tests.unit.client.fake import API_VERSIONS, CLOSE, METADATA, FakeBroker, Raw, refused


def ask(broker: FakeBroker, seconds: float = 30, **config: Any) -> Any:
    with kafkax.AdminClient({"bootstrap.servers": broker.address, **config}) as admin:
        return admin.list_topics("t", timeout=seconds)


def test_the_ordinary_case(broker: FakeBroker) -> None:
    assert list(ask(broker).topics["t"].partitions) == [0, 1]
    assert broker.seen == ["ApiVersions", "Metadata"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "claims a response of 1213486160 bytes"),
        (Raw(struct.pack(">i", -5)), "claims a response of -5 bytes"),
        (Raw(struct.pack(">ii", 8, 999) + b"abcd"), "answered with correlation id 999"),
        (Raw(struct.pack(">i", 4) + struct.pack(">i", 2)), "don't parse"),
        (Raw(struct.pack(">ii", 12, 2) + b"\xff" * 8), "don't parse"),
        (CLOSE, "closed the connection"),
        (None, "did not answer Metadata within 0.5 s (request.timeout.ms)"),
    ],
)
def test_garbage(broker: FakeBroker, answer: Any, says: str) -> None:
    broker.handlers[METADATA] = lambda request, default: answer
    error = refused(lambda seconds: ask(broker, seconds, **{"request.timeout.ms": 500}), says)
    assert broker.address in str(error)


def test_a_response_that_is_cut_at_every_byte(broker: FakeBroker) -> None:
    whole: list[bytes] = []

    def record(request: Any, default: Any) -> Any:
        payload = struct.pack(">i", 2) + b"\0" + default().encode(13)
        whole.append(struct.pack(">i", len(payload)) + payload)
        return default()

    broker.handlers[METADATA] = record
    ask(broker)
    for size in range(0, len(whole[0]), 7):
        broker.handlers[METADATA] = lambda request, default, size=size: Raw(whole[0][:size])
        with pytest.raises(KafkaError):
            ask(broker, 0.3, **{"request.timeout.ms": 30})


def test_an_address_that_does_not_resolve_is_explained(broker: FakeBroker) -> None:
    broker.advertised = ("broker1.invalid", 9092)
    says = f"connected to {broker.address}, but it advertises broker1.invalid:9092, which does not resolve"
    topic = kafkax.client.admin.NewTopic("x")
    with kafkax.AdminClient({"bootstrap.servers": broker.address}) as admin:
        refused(lambda seconds: admin.create_topics([topic], request_timeout=seconds)["x"].result(60), says)


def test_an_old_broker_is_asked_in_its_version(broker: FakeBroker) -> None:
    asked: list[int] = []

    def old(request: Any, default: Any) -> Any:
        asked.append(1)
        if len(asked) == 1:
            body = ApiVersionsResponse(error_code=35, api_keys=[ApiVersion(api_key=API_VERSIONS, max_version=0)]).encode(0)
            return Raw(struct.pack(">ii", 4 + len(body), 1) + body)
        return default()

    broker.handlers[API_VERSIONS] = old
    assert ask(broker).topics["t"].error is None
    assert len(asked) == 2


def test_an_api_that_is_not_served_is_named(broker: FakeBroker) -> None:
    with kafkax.AdminClient({"bootstrap.servers": broker.address}) as admin, pytest.raises(KafkaError) as error:
        admin.describe_log_dirs(request_timeout=30)
    assert error.value.code is ErrorCode.UNSUPPORTED_VERSION
    assert f"{broker.address} does not serve DescribeLogDirs" in str(error.value)


def test_nobody_listens() -> None:
    with kafkax.AdminClient({"bootstrap.servers": "127.0.0.1:1"}) as admin:
        refused(lambda seconds: admin.list_topics(timeout=seconds), "127.0.0.1:1 can't be reached: Connection refused")


def test_a_closed_client_says_so(broker: FakeBroker) -> None:
    admin = kafkax.AdminClient({"bootstrap.servers": broker.address})
    admin.close()
    admin.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        admin.list_topics()
