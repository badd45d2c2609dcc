"""The cleaner's memory: last offset of each key by a 128-bit keyed hash, in a table of bounded size."""

import os

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap

from kafkax._core.codes cimport CORE_END, OK

cdef extern from *:
    """
    static inline uint64_t kx_scale(uint64_t hash, uint64_t slots) { return (uint64_t)(((unsigned __int128)hash * slots) >> 64); }
    static inline void kx_prefetch(const void *at) { __builtin_prefetch(at, 1); }
    """
    uint64_t kx_scale(uint64_t hash, uint64_t slots) noexcept nogil
    void kx_prefetch(const void *at) noexcept nogil

cdef extern from "<sys/mman.h>" nogil:
    enum:
        MADV_HUGEPAGE
    int madvise(void *at, size_t size, int advice) noexcept

cdef inline uint64_t rotate(uint64_t value, int32_t by) noexcept nogil:
    return (value << by) | (value >> (64 - by))


cdef inline void sip_round(uint64_t *v) noexcept nogil:
    v[0] += v[1]
    v[2] += v[3]
    v[1] = rotate(v[1], 13) ^ v[0]
    v[3] = rotate(v[3], 16) ^ v[2]
    v[0] = rotate(v[0], 32)
    v[2] += v[1]
    v[0] += v[3]
    v[1] = rotate(v[1], 17) ^ v[2]
    v[3] = rotate(v[3], 21) ^ v[0]
    v[2] = rotate(v[2], 32)


cdef void sip_hash(uint64_t secret_0, uint64_t secret_1, const uint8_t *data, size_t size, uint64_t *high,
                   uint64_t *low) noexcept nogil:
    """SipHash-2-4 with 128 bits of output."""
    cdef uint64_t v[4]
    cdef uint64_t word = 0
    cdef size_t left = size
    cdef int32_t _turn
    v[0] = secret_0 ^ <uint64_t>0x736f6d6570736575ULL
    v[1] = secret_1 ^ <uint64_t>0x646f72616e646f6dULL ^ <uint64_t>0xee
    v[2] = secret_0 ^ <uint64_t>0x6c7967656e657261ULL
    v[3] = secret_1 ^ <uint64_t>0x7465646279746573ULL
    while left >= 8:
        memcpy(&word, data, 8)
        v[3] ^= word
        sip_round(v)
        sip_round(v)
        v[0] ^= word
        data += 8
        left -= 8
    word = 0
    memcpy(&word, data, left)
    word |= <uint64_t>(size & 0xff) << 56
    v[3] ^= word
    sip_round(v)
    sip_round(v)
    v[0] ^= word
    v[2] ^= 0xee
    for _turn in range(4):
        sip_round(v)
    high[0] = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xdd
    for _turn in range(4):
        sip_round(v)
    low[0] = v[0] ^ v[1] ^ v[2] ^ v[3]


cdef class OffsetMap:
    """Last offset of each key, in at most ``memory`` bytes; linear probing over 24-byte slots."""

    def __cinit__(self, size_t memory, size_t expected=0, double load_factor=0.9):
        cdef bytes secret = os.urandom(16)
        if not 0.0 < load_factor <= 0.95 or memory < sizeof(slot_t) * 2:
            raise ValueError(f"{memory} bytes filled to {load_factor} hold no key; a slot takes {sizeof(slot_t)} bytes")
        self.slot_count = memory // sizeof(slot_t)
        if expected > 0:
            self.slot_count = min(self.slot_count, <size_t>(<double>expected / load_factor) + 2)
        self.limit = max(<size_t>(<double>self.slot_count * load_factor), 1)
        self.latest = -1
        self.slots = <slot_t *>mmap(NULL, self.slot_count * sizeof(slot_t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                                    -1, 0)
        if <void *>self.slots == MAP_FAILED:
            self.slots = NULL
            raise MemoryError(f"no {self.slot_count * sizeof(slot_t)} bytes for the cleaner's offset map")
        # Every look-up hits another page: large ones save most of the misses. A machine without them serves small ones.
        madvise(self.slots, self.slot_count * sizeof(slot_t), MADV_HUGEPAGE)
        memcpy(&self.secret_0, <const char *>secret, 8)
        memcpy(&self.secret_1, <const char *>secret + 8, 8)

    def __dealloc__(self):
        if self.slots != NULL:
            munmap(self.slots, self.slot_count * sizeof(slot_t))

    cdef void digest(self, const uint8_t *key, size_t size, digest_t *out) noexcept nogil:
        sip_hash(self.secret_0, self.secret_1, key, size, &out.high, &out.low)
        kx_prefetch(&self.slots[kx_scale(out.high, self.slot_count)])

    cdef slot_t *search(self, const digest_t *digest) noexcept nogil:
        """The key's slot, or the empty one where it would stand."""
        cdef size_t at = kx_scale(digest.high, self.slot_count)
        while self.slots[at].offset != 0 and (self.slots[at].high != digest.high or self.slots[at].low != digest.low):
            at = at + 1 if at + 1 < self.slot_count else 0
        return &self.slots[at]

    cdef int32_t put(self, const digest_t *digest, int64_t offset) noexcept nogil:
        cdef slot_t *slot = self.search(digest)
        if slot.offset == 0:
            if self.count >= self.limit:
                return CORE_END
            self.count += 1
            slot.high = digest.high
            slot.low = digest.low
        slot.offset = offset + 1
        return OK

    cdef int64_t get(self, const digest_t *digest) noexcept nogil:
        return self.search(digest).offset - 1

    def __len__(self):
        return self.count

    @property
    def capacity(self):
        """Keys that the map can hold."""
        return self.limit

    @property
    def latest_offset(self):
        """Up to which offset, inclusive, the map knows the log; -1 at first."""
        return self.latest

    def see(self, int64_t offset):
        """Note that the log was read up to ``offset``, inclusive."""
        self.latest = max(self.latest, offset)

    def store(self, bytes key, int64_t offset):
        """Note a key's offset; False when the key is new and the map is full."""
        cdef digest_t digest
        self.digest(<const uint8_t *><const char *>key, len(key), &digest)
        return self.put(&digest, offset) == OK

    def find(self, bytes key):
        """Last offset of a key; -1 when it is not known."""
        cdef digest_t digest
        self.digest(<const uint8_t *><const char *>key, len(key), &digest)
        return self.get(&digest)
