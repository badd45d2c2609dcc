"""Kafka's variable-length integers: base 128, least significant group first; signed ones are zigzag-coded."""

from __future__ import annotations

from kafkax.errors import ProtocolError

__all__ = ["read_uvarint", "read_varint", "uvarint", "varint"]


def uvarint(value: int) -> bytes:
    """Encode an unsigned integer."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint(value: int) -> bytes:
    """Encode a signed integer of at most 64 bits."""
    return uvarint((value << 1) ^ (value >> 63))


def read_uvarint(data: bytes | memoryview, position: int, max_bits: int = 32) -> tuple[int, int]:
    """Read an unsigned integer.

    Returns:
        The value and the position after it.

    Raises:
        ProtocolError: more than ``max_bits`` bits.
        IndexError: the data ends within it.
    """
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift >= max_bits:
            raise ProtocolError(f"variable-length integer of more than {max_bits} bits at byte {position}")
    if value >> max_bits:
        raise ProtocolError(f"variable-length integer of more than {max_bits} bits at byte {position}")
    return value, position


def read_varint(data: bytes | memoryview, position: int, max_bits: int = 32) -> tuple[int, int]:
    """Read a signed integer; see :func:`read_uvarint`."""
    value, position = read_uvarint(data, position, max_bits)
    return (value >> 1) ^ -(value & 1), position
