"""Kafka's varints, for tests and tools; the core's own use is inlined from the declarations."""

from typing_extensions import Buffer

def decode_varint(data: Buffer) -> tuple[int, int]:
    """(value, bytes taken) of a zigzag varint (32 bits). Raises ProtocolError when it is cut off or too large."""

def decode_varlong(data: Buffer) -> tuple[int, int]:
    """(value, bytes taken) of a zigzag varlong (64 bits). Raises ProtocolError when it is cut off or too large."""

def encode_varint(value: int) -> bytes: ...
def encode_varlong(value: int) -> bytes: ...
