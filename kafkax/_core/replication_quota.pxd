"""Bytes a second for throttled replicas (KIP-73), over the latest samples as Kafka's ``SimpleRate`` measures them.

Thread-safe; without a limit nothing is measured."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.atomics cimport kx_load64
from kafkax._core.pthreads cimport pthread_mutex_t

cdef enum:
    NO_LIMIT = 0x7FFFFFFFFFFFFFFF

cdef struct sample_t:
    int64_t began_ms
    int64_t bytes

cdef struct replication_quota_t:
    int32_t refs
    int32_t room
    # Bytes a second.
    int64_t limit
    int64_t sample_ms
    pthread_mutex_t lock
    int32_t first
    int32_t count
    # Of all samples.
    int64_t bytes
    # ``room`` of them, in a ring.
    sample_t samples[1]

cdef void quota_retain(replication_quota_t *quota) noexcept nogil
cdef void quota_release(replication_quota_t *quota) noexcept nogil

cdef inline bint quota_limits(const replication_quota_t *quota) noexcept nogil:
    return quota != NULL and kx_load64(&quota.limit) != NO_LIMIT

# Note bytes that went over.
cdef void quota_record(replication_quota_t *quota, int64_t size, int64_t now_ms) noexcept nogil
# Milliseconds until the rate is down to the limit; 0 while it is not above.
cdef int64_t quota_wait_ms(replication_quota_t *quota, int64_t now_ms) noexcept nogil


cdef class ReplicationQuota:
    cdef replication_quota_t *quota
