"""Which header stands in front of which message, and what is no header."""

from __future__ import annotations

import pytest

from kafkax.errors import ProtocolError
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.headers import RequestHeader, parse_response_header, request_header, response_header


@pytest.mark.parametrize("client_id", [None, "", "kcat", "ä" * 70], ids=["none", "empty", "short", "long"])
def test_every_request_header_is_read_as_it_was_written(client_id: str | None) -> None:
    for api in API_KEYS.values():
        for version in range(api.min_version, api.max_version + 1):
            frame = request_header(api.key, version, 77, client_id) + b"body"
            header, body = RequestHeader.parse(frame)
            expected = None if (api.name, version) == ("ControlledShutdown", 0) else client_id
            assert header == (api.key, version, 77, expected)
            assert body == b"body"
            for size in range(0, len(frame) - 4, 7):
                with pytest.raises(ProtocolError):
                    RequestHeader.parse(frame[:size])


def test_headers_by_version() -> None:
    assert request_header(3, 8, 1, "c") == bytes.fromhex("0003" "0008" "00000001" "0001" "63")
    assert request_header(3, 9, 1, "c") == bytes.fromhex("0003" "0009" "00000001" "0001" "63" "00")
    assert request_header(7, 0, 1, "c") == bytes.fromhex("0007" "0000" "00000001")
    assert response_header(3, 8, 1) == bytes.fromhex("00000001")
    assert response_header(3, 9, 1) == bytes.fromhex("00000001" "00")


def test_the_response_to_api_versions_never_has_tagged_fields() -> None:
    assert response_header(18, 4, 1) == bytes.fromhex("00000001")
    assert parse_response_header(bytes.fromhex("00000001" "0023"), 18, 4) == (1, b"\x00\x23")


def test_a_version_newer_than_the_known_ones_still_has_a_header() -> None:
    header, body = RequestHeader.parse(bytes.fromhex("0012" "0063" "00000005" "0001" "61" "00" "ff"))
    assert header == (18, 99, 5, "a")
    assert body == b"\xff"


def test_tagged_fields_of_a_header_are_skipped() -> None:
    header, body = RequestHeader.parse(bytes.fromhex("0003" "0009" "00000005" "ffff" "02" "0003616263" "0900" "ee"))
    assert header == (3, 9, 5, None)
    assert body == b"\xee"
    assert parse_response_header(bytes.fromhex("00000005" "01" "0002aaaa" "ee"), 3, 9) == (5, b"\xee")


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param("03e7" "0000" "00000001" "ffff", id="an API that does not exist"),
        pytest.param("0003" "0001" "00000001" "7fff" "61", id="a client id longer than the frame"),
        pytest.param("0003" "0009" "00000001" "ffff" "ffffffff0f", id="more tagged fields than bytes"),
        pytest.param("0003" "0009" "00000001" "ffff" "01" "00" "7f", id="a tagged field longer than the frame"),
        pytest.param("0003" "0009" "00000001" "ffff" "8080808080", id="a count without end"),
    ],
)
def test_what_is_no_header(frame: str) -> None:
    with pytest.raises(ProtocolError):
        RequestHeader.parse(bytes.fromhex(frame))


@pytest.mark.parametrize("frame", ["", "000000", "00000001", "00000001" "01" "00", "00000001" "01" "00" "05" "61"])
def test_what_is_no_response_header(frame: str) -> None:
    with pytest.raises(ProtocolError):
        parse_response_header(bytes.fromhex(frame), 3, 9)


def test_a_client_id_that_is_not_utf8_is_read_with_replacements() -> None:
    assert RequestHeader.parse(bytes.fromhex("0003" "0001" "00000001" "0002" "61ff"))[0].client_id == "a\ufffd"
