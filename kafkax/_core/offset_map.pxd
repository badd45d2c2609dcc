"""The cleaner's memory: last offset of each key by a 128-bit keyed hash, in a table of bounded size."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef struct slot_t:
    uint64_t high
    uint64_t low
    int64_t offset
    # One more than the key's last offset; 0 in an empty slot.

cdef struct digest_t:
    # A key's hash.
    uint64_t high
    uint64_t low


cdef class OffsetMap:
    cdef slot_t *slots
    cdef size_t slot_count
    cdef size_t limit
    # Keys that may be stored; fewer than the slots, so that a search stays short.
    cdef size_t count
    cdef uint64_t secret_0
    cdef uint64_t secret_1
    cdef int64_t latest
    # Up to which offset, inclusive, the map knows the log; -1 at first.

    cdef void digest(self, const uint8_t *key, size_t size, digest_t *out) noexcept nogil
    """Hash a key and begin to fetch its slot: where several keys are hashed before the first is looked up, memory's latency is
    paid once for all of them."""
    cdef slot_t *search(self, const digest_t *digest) noexcept nogil
    cdef int32_t put(self, const digest_t *digest, int64_t offset) noexcept nogil
    """0, or CORE_END when the key is new and the map is full."""
    cdef int64_t get(self, const digest_t *digest) noexcept nogil
    """Last offset of the key; -1 when it is not known."""
