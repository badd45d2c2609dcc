"""Messages: structs with versions of their own, which can be encoded and decoded.

The work is done by code that :mod:`kafkax.protocol.codec` compiles from the declaration, per message and version on first
use; :mod:`kafkax.protocol.oracle` does the same slowly and readably, and is what the compiled code is tested against.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol import codec, oracle
from kafkax.protocol.schema import Struct

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Message", "Request", "Response"]


class Message(Struct):
    """A message with versions of its own: a request, a response, or a record of an internal topic."""

    __slots__ = ()
    api_key: ClassVar[int]
    min_version: ClassVar[int]
    max_version: ClassVar[int]
    flexible_since: ClassVar[int | None]
    _encoders: ClassVar[dict[int, Callable[[Any], list[Any]]]]
    _decoders: ClassVar[dict[int, Callable[..., Any]]]

    def encode(self, version: int) -> bytes:
        """The message's bytes at a version, without header.

        Raises:
            KafkaError: UNSUPPORTED_VERSION when the version doesn't exist, or can't carry a value that was set.
            TypeError, ValueError: a value doesn't fit its field.
        """
        try:
            return b"".join(self.encode_parts(version))
        except TypeError:
            return oracle.encode(self, version)

    def encode_parts(self, version: int) -> list[Any]:
        """Like :meth:`encode`, as pieces to be sent one after the other.

        What was set as ``records`` is a piece of its own, untouched; it needs a ``len`` in bytes, and may be a slice of a file.
        """
        encoder = self._encoders.get(version)
        if encoder is None:
            self._require(version)
            encoder = self._encoders[version] = codec.compile_encoder(type(self), version)
        try:
            return encoder(self)
        except codec.REFUSALS:
            return [oracle.encode(self, version)]

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, version: int, *, exact: bool = True) -> Self:
        """Read a message.

        Args:
            data: its bytes.
            version: of the message.
            exact: whether it must fill ``data``; else what follows it is left alone, as Kafka does with requests.

        Raises:
            ProtocolError: the bytes don't parse, or bytes are left over though ``exact``.
            KafkaError: UNSUPPORTED_VERSION when the version doesn't exist.
        """
        decoder = cls._decoders.get(version)
        if decoder is None:
            cls._require(version)
            decoder = cls._decoders[version] = codec.compile_decoder(cls, version)
        message: Self = decoder(data, exact)
        return message

    @classmethod
    def flexible(cls, version: int) -> bool:
        """Whether the version has compact lengths and tagged fields (KIP-482)."""
        return cls.flexible_since is not None and version >= cls.flexible_since

    @classmethod
    def _require(cls, version: int) -> None:
        if not cls.min_version <= version <= cls.max_version:
            raise KafkaError(
                ErrorCode.UNSUPPORTED_VERSION,
                f"{cls.__name__} has no version {version}; versions {cls.min_version} to {cls.max_version} are known",
            )


class Request(Message):
    """What a client sends."""

    __slots__ = ()


class Response(Message):
    """What a broker answers."""

    __slots__ = ()
