"""Hashing of short keys, for tables in memory."""

from libc.stdint cimport uint64_t, uint8_t


cdef inline uint64_t fnv1a(const void *key, size_t size) noexcept nogil:
    """FNV-1a of 64 bits; its low bits alone are weak, so a table folds the high ones in."""
    cdef const uint8_t *at = <const uint8_t *>key
    cdef uint64_t value = <uint64_t>0xCBF29CE484222325
    cdef size_t i
    for i in range(size):
        value = (value ^ at[i]) * <uint64_t>0x100000001B3
    return value
