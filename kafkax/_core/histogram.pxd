from libc.stdint cimport int64_t, uint64_t
from kafkax._core.atomics cimport kx_store64

# Log-linear buckets: exact below 128, then 128 buckets for every power of two, so a value is known to within 0.8 %.
cdef enum:
    HISTOGRAM_LINEAR_BITS = 7
    HISTOGRAM_LINEAR = 1 << HISTOGRAM_LINEAR_BITS
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_LINEAR_BITS) * HISTOGRAM_LINEAR

cdef extern from *:
    int __builtin_clzll(unsigned long long x) noexcept nogil

cdef struct histogram_t:
    int64_t count
    int64_t total
    int64_t lowest
    int64_t highest
    int64_t buckets[HISTOGRAM_BUCKETS]


cdef inline size_t histogram_bucket(uint64_t value) noexcept nogil:
    cdef int shift
    if value < HISTOGRAM_LINEAR:
        return <size_t>value
    shift = 63 - __builtin_clzll(value) - HISTOGRAM_LINEAR_BITS
    # The leading bit of ``value >> shift`` is always set: it counts one power of two up from the linear part.
    return (<size_t>shift << HISTOGRAM_LINEAR_BITS) + <size_t>(value >> shift)


cdef inline void histogram_record(histogram_t* histogram, int64_t value) noexcept nogil:
    if value < 0:
        value = 0
    histogram.buckets[histogram_bucket(<uint64_t>value)] += 1
    if histogram.count == 0 or value < histogram.lowest:
        histogram.lowest = value
    if value > histogram.highest:
        histogram.highest = value
    histogram.total += value
    # Others may look at it meanwhile, to tell of progress.
    kx_store64(&histogram.count, histogram.count + 1)


cdef class Histogram:
    cdef histogram_t* data
