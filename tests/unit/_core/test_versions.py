"""ApiVersions is answered by the core with what the control plane left there, and by the control plane otherwise."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kafkax.protocol.messages.api_versions import ApiVersionsRequest
from tests.unit._core.topics import serving
from tests.unit._core.wire import request

API_VERSIONS = 18


def asking(version: int, correlation_id: int, name: str = "librdkafka", release: str = "2.1.0-rc.1") -> bytes:
    body = ApiVersionsRequest(client_software_name=name, client_software_version=release).encode(version)
    return request(API_VERSIONS, version, correlation_id, body, flexible=version >= 3)


@pytest.mark.parametrize("version", range(5))
def test_what_was_left_is_sent_to_everybody_who_asks(tmp_path: Path, version: int) -> None:
    with serving(tmp_path) as (_, broker):
        broker.reactor.set_api_versions(version, b"all that is served")
        client = broker.client()
        client.send(b"".join(asking(version, number) for number in range(300)))
        for number in range(300):
            assert client.receive() == struct.pack(">i", number) + b"all that is served"
        assert broker.reactor.counters()["requests"] == {API_VERSIONS: 300}
        assert broker.reactor.counters()["handed_over"] == 0


def test_another_answer_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, broker):
        client = broker.client()
        for body in (b"old", b"", b"new features"):
            broker.reactor.set_api_versions(3, body)
            client.send(asking(3, 1))
            assert client.receive() == struct.pack(">i", 1) + body


def test_what_was_taken_back_or_never_left_is_handed_over(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, broker):
        broker.reactor.set_api_versions(3, b"gone")
        broker.reactor.set_api_versions(3, None)
        client = broker.client()
        client.send(asking(3, 1) + asking(4, 2) + request(API_VERSIONS, 200, 3))
        assert [item.frame[2:4] for item in broker.handed(3)] == [b"\x00\x03", b"\x00\x04", b"\x00\xc8"]


@pytest.mark.parametrize("name", ["", "-a", "a.", "a b", "a_b", "naïve", "a" * 3 + "/"])
def test_a_client_with_an_improper_name_is_the_control_plane_s(tmp_path: Path, name: str) -> None:
    with serving(tmp_path) as (_, broker):
        broker.reactor.set_api_versions(3, b"not for them")
        client = broker.client()
        client.send(asking(3, 1, name=name) + asking(3, 2, release=name))
        assert len(broker.handed(2)) == 2


@pytest.mark.parametrize("frame", [request(API_VERSIONS, 3, 1, b"\x05ab", flexible=True), request(API_VERSIONS, 0, 1, b"more")])
def test_a_frame_that_does_not_parse_is_the_control_plane_s(tmp_path: Path, frame: bytes) -> None:
    with serving(tmp_path) as (_, broker):
        for version in (0, 3):
            broker.reactor.set_api_versions(version, b"not for them")
        client = broker.client()
        client.send(frame)
        assert broker.handed(1)[0].frame == frame[4:]


def test_a_version_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, broker), pytest.raises(ValueError, match="0 to 15"):
        broker.reactor.set_api_versions(16, b"")
