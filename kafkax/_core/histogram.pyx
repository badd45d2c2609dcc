"""A latency histogram with log-linear buckets: constant memory, one increment a value, percentiles to within 0.8 %."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from kafkax._core.atomics cimport kx_load64


cdef uint64_t highest_of(size_t bucket) noexcept nogil:
    """The greatest value that falls into ``bucket``."""
    cdef int shift
    cdef uint64_t steps
    if bucket < 2 * HISTOGRAM_LINEAR:
        return bucket
    shift = <int>(bucket >> HISTOGRAM_LINEAR_BITS) - 1
    steps = <uint64_t>(bucket & (HISTOGRAM_LINEAR - 1)) + HISTOGRAM_LINEAR
    return ((steps + 1) << shift) - 1


cdef class Histogram:
    def __cinit__(self):
        self.data = <histogram_t*>calloc(1, sizeof(histogram_t))
        if self.data == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.data)

    def record(self, int64_t value):
        histogram_record(self.data, value)

    @property
    def count(self):
        return kx_load64(&self.data.count)

    @property
    def lowest(self):
        return self.data.lowest

    @property
    def highest(self):
        return self.data.highest

    @property
    def mean(self):
        return self.data.total / <double>self.data.count if self.data.count else 0.0

    def percentile(self, double percent):
        if not 0.0 <= percent <= 100.0:
            raise ValueError(f"a percentile lies between 0 and 100, not at {percent}")
        cdef int64_t wanted = <int64_t>(percent / 100.0 * self.data.count + 0.5)
        cdef int64_t seen = 0
        cdef int bucket
        if wanted < 1:
            return self.data.lowest
        for bucket in range(HISTOGRAM_BUCKETS):
            seen += self.data.buckets[bucket]
            if seen >= wanted:
                return min(<int64_t>highest_of(<size_t>bucket), self.data.highest)
        return self.data.highest

    def add(self, Histogram other not None):
        cdef int bucket
        if other.data.count == 0:
            return
        if self.data.count == 0 or other.data.lowest < self.data.lowest:
            self.data.lowest = other.data.lowest
        self.data.highest = max(self.data.highest, other.data.highest)
        self.data.total += other.data.total
        self.data.count += other.data.count
        for bucket in range(HISTOGRAM_BUCKETS):
            self.data.buckets[bucket] += other.data.buckets[bucket]
