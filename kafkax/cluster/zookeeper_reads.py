"""Many reads of ZooKeeper in one request, which kazoo does not have: the server's ``multiRead`` (since ZooKeeper 3.6).

One request of kazoo costs a tenth of a millisecond and more, whatever it asks for; a controller that takes over reads tens of
thousands of nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from kazoo.exceptions import EXCEPTIONS, NoNodeError

from kafkax.cluster.store import Stat

__all__ = ["READS_PER_REQUEST", "MultiRead"]

READS_PER_REQUEST = 200
"""Bounds a request and its answer to a few tens of kilobytes."""

_HEADER = struct.Struct(">i?i")
_LENGTH = struct.Struct(">i")
_STAT = struct.Struct(">qqqqiiiqiiq")
_GET_DATA, _GET_CHILDREN, _ERROR, _END = 4, 8, -1, -1


class MultiRead:
    """A request as kazoo's connection takes one.

    Args:
        paths: absolute, the chroot included.
        children: whether names of children are asked for instead of data.
    """

    type = 22

    def __init__(self, paths: Sequence[str], *, children: bool = False) -> None:
        self._paths = paths
        self._kind = _GET_CHILDREN if children else _GET_DATA

    def serialize(self) -> bytes:
        """The request's body."""
        parts = []
        for path in self._paths:
            name = path.encode()
            parts += [_HEADER.pack(self._kind, False, -1), _LENGTH.pack(len(name)), name, b"\0"]
        parts.append(_HEADER.pack(_END, True, -1))
        return b"".join(parts)

    @classmethod
    def deserialize(cls, data: bytes, offset: int) -> list[Any]:
        """For each path its (data, stat) or its children's names; None where there is no node, else kazoo's exception."""
        found: list[Any] = []
        while True:
            kind, done, error = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            if done:
                return found
            if kind == _GET_DATA:
                value, offset = _bytes(data, offset)
                stat = _STAT.unpack_from(data, offset)
                offset += _STAT.size
                found.append((value, Stat(stat[0], stat[1], stat[4], stat[7])))
            elif kind == _GET_CHILDREN:
                (count,) = _LENGTH.unpack_from(data, offset)
                offset += _LENGTH.size
                names = []
                for _ in range(count):
                    name, offset = _bytes(data, offset)
                    names.append(name.decode())
                found.append(names)
            else:
                (error,) = _LENGTH.unpack_from(data, offset)
                offset += _LENGTH.size
                found.append(None if error == NoNodeError.code else EXCEPTIONS[error]())


def _bytes(data: bytes, offset: int) -> tuple[bytes, int]:
    (size,) = _LENGTH.unpack_from(data, offset)
    offset += _LENGTH.size
    end = offset + max(size, 0)
    return bytes(data[offset:end]), end
