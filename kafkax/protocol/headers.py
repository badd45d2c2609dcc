"""Headers: what stands between a frame's length and the message, in requests and in responses.

Which header a message has follows from its API and version: neither requests nor responses have tagged fields before the
API's flexible versions; the response to ApiVersions never has them, since a client reads it before it knows what the
broker speaks (KIP-511).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from kafkax.errors import ProtocolError
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.varint import read_uvarint

__all__ = ["RequestHeader", "parse_response_header", "request_header", "response_header"]

_START = struct.Struct(">hhi")
_WITH_CLIENT = struct.Struct(">hhih")
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_API_VERSIONS = 18
_CONTROLLED_SHUTDOWN = 7


class RequestHeader(NamedTuple):
    """The header of a request.

    Attributes:
        api_key: the API's number.
        api_version: the version of the request, which may be one that is not known.
        correlation_id: what the response has to repeat.
        client_id: the name that the client gives itself.
    """

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None

    @classmethod
    def parse(cls, frame: bytes | memoryview) -> tuple[RequestHeader, memoryview]:
        """Split a frame, without its length, into header and body.

        Raises:
            ProtocolError: the API is not known, or the header doesn't parse.
        """
        try:
            api_key, version, correlation_id, size = _WITH_CLIENT.unpack_from(frame)
            api = API_KEYS.get(api_key)
            if api is None:
                raise ProtocolError(f"API key {api_key} is not known")
            if api_key == _CONTROLLED_SHUTDOWN and version == 0:
                return cls(api_key, version, correlation_id, None), memoryview(frame)[8:]
            end = 10 if size < 0 else 10 + size
            client_id = None if size < 0 else str(frame[10:end], "utf-8", "replace")
            if end > len(frame):
                raise ProtocolError(f"client id of {size} bytes in a frame of {len(frame)}")
            if api.flexible(version):
                end = end + 1 if frame[end] == 0 else _skip_tags(frame, end)
        except (struct.error, IndexError):
            raise ProtocolError(f"a frame of {len(frame)} bytes is too short for its header") from None
        return cls(api_key, version, correlation_id, client_id), memoryview(frame)[end:]


def _skip_tags(frame: bytes | memoryview, position: int) -> int:
    """The position after a section of tagged fields; headers have none that mean anything here."""
    count, position = read_uvarint(frame, position)
    for _ in range(count):
        _, position = read_uvarint(frame, position)
        size, position = read_uvarint(frame, position)
        position += size
    if position > len(frame):
        raise ProtocolError(f"tagged fields of the header end at byte {position} of {len(frame)}")
    return position


def request_header(api_key: int, version: int, correlation_id: int, client_id: str | None) -> bytes:
    """The header in front of a request's body."""
    start = _START.pack(api_key, version, correlation_id)
    if api_key == _CONTROLLED_SHUTDOWN and version == 0:
        return start
    name = b"" if client_id is None else client_id.encode()
    tags = b"\0" if API_KEYS[api_key].flexible(version) else b""
    return start + _INT16.pack(-1 if client_id is None else len(name)) + name + tags


def response_header(api_key: int, version: int, correlation_id: int) -> bytes:
    """The header in front of a response's body; the version is the request's."""
    tags = b"\0" if api_key != _API_VERSIONS and API_KEYS[api_key].flexible(version) else b""
    return _INT32.pack(correlation_id) + tags


def parse_response_header(frame: bytes | memoryview, api_key: int, version: int) -> tuple[int, memoryview]:
    """Split a response's frame, without its length, into correlation id and body.

    Raises:
        ProtocolError: the header doesn't parse.
    """
    try:
        correlation_id: int = _INT32.unpack_from(frame)[0]
        end = 4
        if api_key != _API_VERSIONS and API_KEYS[api_key].flexible(version):
            end = _skip_tags(frame, end)
    except (struct.error, IndexError):
        raise ProtocolError(f"a frame of {len(frame)} bytes is too short for its header") from None
    return correlation_id, memoryview(frame)[end:]
