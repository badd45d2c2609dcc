"""Bytes a second for throttled replicas (KIP-73), over the latest samples as Kafka's ``SimpleRate`` measures them."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free
from kafkax._core.atomics cimport kx_add32, kx_load64, kx_store64
from kafkax._core.pthreads cimport pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock


cdef void quota_retain(replication_quota_t *quota) noexcept nogil:
    if quota != NULL:
        kx_add32(&quota.refs, 1)


cdef void quota_release(replication_quota_t *quota) noexcept nogil:
    if quota == NULL or kx_add32(&quota.refs, -1) > 0:
        return
    pthread_mutex_destroy(&quota.lock)
    free(quota)


cdef void drop_first(replication_quota_t *quota) noexcept nogil:
    quota.bytes -= quota.samples[quota.first].bytes
    quota.first = (quota.first + 1) % quota.room
    quota.count -= 1


cdef void forget_old(replication_quota_t *quota, int64_t now_ms) noexcept nogil:
    cdef int64_t oldest = now_ms - quota.room * quota.sample_ms
    while quota.count and quota.samples[quota.first].began_ms <= oldest:
        drop_first(quota)


cdef void quota_record(replication_quota_t *quota, int64_t size, int64_t now_ms) noexcept nogil:
    cdef sample_t *last
    if not quota_limits(quota):
        return
    pthread_mutex_lock(&quota.lock)
    last = &quota.samples[(quota.first + quota.count - 1) % quota.room]
    if quota.count == 0 or now_ms - last.began_ms >= quota.sample_ms:
        if quota.count == quota.room:
            drop_first(quota)
        last = &quota.samples[(quota.first + quota.count) % quota.room]
        last.began_ms = now_ms
        last.bytes = 0
        quota.count += 1
    last.bytes += size
    quota.bytes += size
    pthread_mutex_unlock(&quota.lock)


cdef int64_t quota_wait_ms(replication_quota_t *quota, int64_t now_ms) noexcept nogil:
    cdef int64_t limit
    cdef int64_t began = now_ms
    cdef double needed = 0
    if not quota_limits(quota):
        return 0
    limit = kx_load64(&quota.limit)
    pthread_mutex_lock(&quota.lock)
    forget_old(quota, now_ms)
    if quota.count:
        began = quota.samples[quota.first].began_ms
        # A rate of nothing comes back when all that was used is forgotten.
        needed = quota.bytes * 1000.0 / limit if limit else (quota.room * quota.sample_ms if quota.bytes else 0)
    pthread_mutex_unlock(&quota.lock)
    if needed <= max(now_ms - began, quota.sample_ms):
        return 0
    return max(<int64_t>1, <int64_t>min(needed, <double>(quota.room * quota.sample_ms)) - (now_ms - began))


cdef class ReplicationQuota:
    def __cinit__(self, int32_t samples, int64_t sample_ms):
        if samples < 1 or sample_ms < 1:
            raise ValueError(f"a quota needs at least one sample of a millisecond, not {samples} of {sample_ms}")
        self.quota = <replication_quota_t *>calloc(1, sizeof(replication_quota_t) + samples * sizeof(sample_t))
        if self.quota == NULL:
            raise MemoryError
        self.quota.refs = 1
        self.quota.room = samples
        self.quota.limit = NO_LIMIT
        self.quota.sample_ms = sample_ms
        pthread_mutex_init(&self.quota.lock, NULL)

    def __dealloc__(self):
        quota_release(self.quota)

    @property
    def limit(self):
        return kx_load64(&self.quota.limit)

    @limit.setter
    def limit(self, int64_t rate):
        kx_store64(&self.quota.limit, rate)

    def record(self, int64_t size, int64_t now_ms):
        with nogil:
            quota_record(self.quota, size, now_ms)

    def wait_ms(self, int64_t now_ms):
        cdef int64_t wait
        with nogil:
            wait = quota_wait_ms(self.quota, now_ms)
        return wait
