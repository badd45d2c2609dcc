"""The int16 in front of a message that stands inside a record: a value's version, or a key's kind."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol import oracle
from kafkax.protocol.message import Message

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CoordinatorKey", "CoordinatorValue", "ForwardCompatible", "VersionedMessage", "leading_int16"]

_INT16 = struct.Struct(">h")


def leading_int16(data: bytes | memoryview) -> int:
    """The int16 at the start of a coordinator record's key (its kind) or value (its version).

    Raises:
        ProtocolError: fewer than two bytes.
    """
    if len(data) < 2:
        raise ProtocolError(f"{len(data)} bytes are too few for a coordinator record")
    kind: int = _INT16.unpack_from(data)[0]
    return kind


class VersionedMessage(Message):
    """A message that follows its version as an int16."""

    __slots__ = ()

    def to_bytes(self, version: int | None = None) -> bytes:
        """Version and body; the newest version when none is given."""
        chosen = type(self).max_version if version is None else version
        return _INT16.pack(chosen) + self.encode(chosen)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """Read version and body.

        Raises:
            ProtocolError: the bytes don't parse.
            KafkaError: UNSUPPORTED_VERSION when the version is not known.
        """
        return cls.decode(memoryview(data)[2:], leading_int16(data))


class ForwardCompatible(VersionedMessage):
    """A message whose newer versions only append fields: an older reader takes what it knows and leaves the rest."""

    __slots__ = ()

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """Read version and body; a version newer than the known ones is read as the newest of them.

        Raises:
            ProtocolError: the bytes don't parse.
            KafkaError: UNSUPPORTED_VERSION when the version is negative.
        """
        version = leading_int16(data)
        if version <= cls.max_version:
            return super().from_bytes(data)
        return oracle.decode_start(cls, bytes(data)[2:], cls.max_version)


class CoordinatorValue(VersionedMessage):
    """The value of a coordinator's record."""

    __slots__ = ()


class CoordinatorKey(Message):
    """The key of a coordinator's record: ``api_key`` tells its kind and stands where a value has its version."""

    __slots__ = ()

    def to_bytes(self) -> bytes:
        """Kind and body."""
        cls = type(self)
        return _INT16.pack(cls.api_key) + self.encode(cls.max_version)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """Read kind and body.

        Raises:
            ProtocolError: the bytes don't parse.
            KafkaError: UNSUPPORTED_VERSION when it is a key of another kind.
        """
        kind = leading_int16(data)
        if kind != cls.api_key:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{cls.__name__} is of kind {cls.api_key}, the key of kind {kind}")
        return cls.decode(memoryview(data)[2:], cls.max_version)
