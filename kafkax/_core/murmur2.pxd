"""Murmur2 as Kafka's default partitioner uses it."""

from libc.stdint cimport int32_t, uint8_t

# Hash of the key as Java's signed int.
cdef int32_t murmur2_hash(const uint8_t *data, size_t size) noexcept nogil
