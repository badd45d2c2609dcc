"""The partitions that this broker hosts, by topic name and by topic id; lookups take no GIL."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from kafkax._core.partition cimport Partition, partition_t
from kafkax._core.pthreads cimport pthread_rwlock_t
from kafkax._core.replication_quota cimport ReplicationQuota, replication_quota_t

cdef struct registry_slot_t:
    uint64_t hash
    partition_t *partition

cdef struct registry_table_t:
    # Open addressing; at most half full. A slot without a partition is free.
    registry_slot_t *slots
    int64_t room
    int64_t count

cdef struct registry_t:
    int32_t refs
    # What is not here may be on another broker.
    int32_t elsewhere
    # What throttled followers may fetch here; NULL where there are none. Owned.
    replication_quota_t *quota
    registry_table_t names
    registry_table_t ids
    pthread_rwlock_t lock

cdef void registry_retain(registry_t *registry) noexcept nogil
cdef void registry_release(registry_t *registry) noexcept nogil

# The partition with a new reference (``partition_release`` it), or NULL.
cdef partition_t *registry_get(registry_t *registry, const char *topic, size_t size, int32_t index) noexcept nogil

# The same by the 16 bytes of the topic's id.
cdef partition_t *registry_get_by_id(registry_t *registry, const uint8_t *topic_id, int32_t index) noexcept nogil

cdef enum:
    LOOKED_AHEAD = 8

# Have the processor fetch what looking up these partitions, at most LOOKED_AHEAD, and appending to them will meet: all at once,
# a step after the other, since each leads to the next.
cdef void registry_ahead(registry_t *registry, const uint8_t *const *keys, const int32_t *indexes, int32_t count, size_t size,
                         bint by_id) noexcept nogil


cdef class Registry:
    cdef registry_t *registry
    cdef dict _partitions
    cdef Partition take(self, str topic, int32_t index)
