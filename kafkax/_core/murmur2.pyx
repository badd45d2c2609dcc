"""Murmur2 as Kafka's default partitioner uses it."""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcpy

cdef uint32_t SEED = 0x9747B28C
cdef uint32_t MIX = 0x5BD1E995


cdef int32_t murmur2_hash(const uint8_t *data, size_t size) noexcept nogil:
    cdef uint32_t h = SEED ^ <uint32_t>size
    cdef uint32_t k
    cdef const uint8_t *at = data
    cdef const uint8_t *end = data + (size & ~<size_t>3)
    while at < end:
        memcpy(&k, at, 4)
        k *= MIX
        k = (k ^ (k >> 24)) * MIX
        h = (h * MIX) ^ k
        at += 4
    if size & 3 == 3:
        h ^= <uint32_t>at[2] << 16
    if size & 3 >= 2:
        h ^= <uint32_t>at[1] << 8
    if size & 3:
        h = (h ^ at[0]) * MIX
    h = (h ^ (h >> 13)) * MIX
    return <int32_t>(h ^ (h >> 15))


def murmur2(const uint8_t[::1] key not None):
    return murmur2_hash(&key[0] if key.shape[0] else NULL, key.shape[0])


def partition_for_key(const uint8_t[::1] key not None, int32_t partitions):
    if partitions <= 0:
        raise ValueError(f"partitions is {partitions}, must be above 0")
    return (murmur2_hash(&key[0] if key.shape[0] else NULL, key.shape[0]) & 0x7FFFFFFF) % partitions
