"""Variable-length integers, as records and compact fields of messages have them, into memory that has room for them."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t


cdef inline uint8_t *put_uvarint(uint8_t *at, uint64_t value) noexcept nogil:
    """Write an unsigned one, 1 to 10 bytes; where it ends."""
    while value >= 128:
        at[0] = <uint8_t>(value | 128)
        at += 1
        value >>= 7
    at[0] = <uint8_t>value
    return at + 1


cdef inline int32_t uvarint_size(uint64_t value) noexcept nogil:
    """Bytes that an unsigned one takes, 1 to 10."""
    cdef int32_t size = 1
    while value >= 128:
        value >>= 7
        size += 1
    return size


cdef inline int32_t varint_size(int64_t value) noexcept nogil:
    """Bytes that a signed one takes, zigzag, 1 to 10."""
    return uvarint_size((<uint64_t>value << 1) ^ <uint64_t>(value >> 63))
