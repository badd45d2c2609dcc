"""Frames from a connection without copies of large ones: each is received where it stays."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import cast

from kafkax.errors import ProtocolError

__all__ = ["FrameProtocol"]

_PREFIX = struct.Struct(">i")
_ROOM = 65_536


class FrameProtocol(asyncio.BufferedProtocol):
    """The receiving side of a connection that carries frames with a length (int32) before each.

    A frame that fits into the buffer that all of a connection's frames share is copied out of it; a larger one gets its own.

    Args:
        taken: called with each frame, which is its own to keep; what it raises as :class:`ProtocolError` ends the connection.
        lost: called once when the connection is gone, with the reason, None when the peer closed it.
        frame_max_bytes: a larger frame, or one shorter than 4 bytes, is an error.
    """

    def __init__(
        self, taken: Callable[[memoryview], None], lost: Callable[[Exception | None], None], frame_max_bytes: int
    ) -> None:
        self._taken = taken
        self._lost = lost
        self._limit = frame_max_bytes
        self._shared = memoryview(bytearray(_ROOM))
        self._have = 0
        self._large: memoryview | None = None
        self._large_have = 0
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None
        self.ended = False
        """Whether the connection is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self.ended = True
        self._lost(self._error or error)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._shared[self._have :] if self._large is None else self._large[self._large_have :]

    def buffer_updated(self, size: int) -> None:
        """Bytes came."""
        try:
            if self._large is None:
                self._have += size
                self._cut()
            else:
                self._large_have += size
                if self._large_have == len(self._large):
                    frame, self._large = self._large, None
                    self._taken(frame)
        except ProtocolError as error:
            self._error = error
            assert self._transport is not None
            self._transport.abort()

    def _cut(self) -> None:
        """Take the frames that the shared buffer holds in whole; begin a frame that is too large for it."""
        at = 0
        while self._have - at >= 4:
            (size,) = _PREFIX.unpack_from(self._shared, at)
            if not 4 <= size <= self._limit:
                raise ProtocolError(f"an answer of {size} bytes")
            begin, end = at + 4, at + 4 + size
            if end <= self._have:
                at = end
                self._taken(memoryview(bytes(self._shared[begin:end])))
            elif 4 + size > _ROOM:
                self._large = memoryview(bytearray(size))
                self._large_have = self._have - begin
                self._large[: self._large_have] = self._shared[begin : self._have]
                at = self._have
            else:
                break
        left = self._have - at
        self._shared[:left] = bytes(self._shared[at : self._have])
        self._have = left
