"""Variable-length integers, as records and compact fields of messages have them, into memory that has room for them."""

from libc.stdint cimport uint8_t, uint64_t


cdef inline uint8_t *put_uvarint(uint8_t *at, uint64_t value) noexcept nogil:
    """Write an unsigned one, 1 to 10 bytes; where it ends."""
    while value >= 128:
        at[0] = <uint8_t>(value | 128)
        at += 1
        value >>= 7
    at[0] = <uint8_t>value
    return at + 1
