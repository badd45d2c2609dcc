"""Progress of the replicas that follow a leader."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc


cdef replicas_t *replicas_new(int32_t count) noexcept nogil:
    cdef replicas_t *replicas = <replicas_t *>calloc(1, sizeof(replicas_t) + count * sizeof(replica_t))
    if replicas != NULL:
        replicas.count = count
    return replicas


cdef replica_t *replicas_find(replicas_t *replicas, int32_t id) noexcept nogil:
    cdef int32_t at
    for at in range(replicas.count):
        if replicas.entries[at].id == id:
            return &replicas.entries[at]
    return NULL


cdef int32_t replicas_throttle(replicas_t *replicas, int32_t id) noexcept nogil:
    cdef replica_t *replica
    if replicas == NULL or not replicas.throttled:
        return THROTTLED_NOT
    replica = replicas_find(replicas, id)
    return THROTTLED_IN_SYNC if replica != NULL and replica.counts else THROTTLED_BEHIND


cdef bint replica_fetched(replica_t *replica, int64_t broker_epoch, int64_t offset, int64_t leader_end,
                          int64_t now_ms) noexcept nogil:
    if broker_epoch != -1 and broker_epoch < replica.broker_epoch:
        return False
    if broker_epoch > replica.broker_epoch:
        replica.broker_epoch = broker_epoch
    if offset >= leader_end:
        replica.caught_up_ms = now_ms
    elif replica.offset != -1 and offset >= replica.leader_end and replica.asked_at_ms > replica.caught_up_ms:
        # It has all there was when it asked last; what came since is no sign of falling behind.
        replica.caught_up_ms = replica.asked_at_ms
    replica.offset = offset
    replica.leader_end = leader_end
    replica.asked_at_ms = now_ms
    return True


cdef bint replica_may_join(const replicas_t *replicas, const replica_t *replica, int64_t mark) noexcept nogil:
    return not replica.counts and replica.offset != -1 and replica.offset >= mark and replica.offset >= replicas.epoch_start


cdef int64_t replicas_committed(const replicas_t *replicas, int64_t own, int64_t mark, int64_t now_ms) noexcept nogil:
    cdef const replica_t *replica
    cdef int64_t least = own
    cdef int32_t at
    if not replicas.enough:
        return mark
    for at in range(replicas.count):
        replica = &replicas.entries[at]
        if replica.offset >= least:
            continue
        # One that is about to join is waited for, as long as it keeps up.
        if replica.counts or (now_ms - replica.caught_up_ms <= replicas.lag_max_ms
                              and replica_may_join(replicas, replica, mark)):
            least = replica.offset
    return least if least > mark else mark
