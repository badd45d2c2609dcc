"""What a leader knows of the replicas that follow it, and the high watermark that comes of it.

The same rules in words that can be simulated stand in ``kafkax.replication.leadership``; a test compares the two."""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    # Whether a replica's bytes are held against the quota; and whether it gets none while that is used up, since it lags.
    THROTTLED_NOT = 0
    THROTTLED_IN_SYNC = 1
    THROTTLED_BEHIND = 2

cdef struct replica_t:
    int32_t id
    # In sync, or asked of the controller to be: the high watermark waits for it.
    int32_t counts
    # Where it fetches from: it has everything before, flushed if the durability asks for that; -1 before its first fetch.
    int64_t offset
    # Of the process that fetches (KIP-903); -1 while it is not known.
    int64_t broker_epoch
    # When it last had everything that the leader had.
    int64_t caught_up_ms
    int64_t asked_at_ms
    # The leader's log end at its last fetch.
    int64_t leader_end

cdef struct replicas_t:
    int32_t count
    int32_t leader_epoch
    # Enough replicas are in sync for the high watermark to move (min.insync.replicas).
    int32_t enough
    # The log's end when the leadership began.
    int64_t epoch_start
    # Of those that are not in sync, as long as the broker's quota for them is used up, none gets records (KIP-73).
    int32_t throttled
    # replica.lag.time.max.ms
    int64_t lag_max_ms
    # ``count`` of them.
    replica_t entries[1]

# Nothing known of any of them, all of them caught up now; NULL without memory.
cdef replicas_t *replicas_new(int32_t count) noexcept nogil
cdef replica_t *replicas_find(replicas_t *replicas, int32_t id) noexcept nogil
# It fetches from ``offset`` while the leader's log ends at ``leader_end``; False for a former life of that broker.
cdef bint replica_fetched(replica_t *replica, int64_t broker_epoch, int64_t offset, int64_t leader_end,
                          int64_t now_ms) noexcept nogil
# The high watermark that follows, never below ``mark``; ``own``: what the leader itself contributes.
cdef int64_t replicas_committed(const replicas_t *replicas, int64_t own, int64_t mark, int64_t now_ms) noexcept nogil
# One of ``THROTTLED_*``; ``replicas`` may be NULL.
cdef int32_t replicas_throttle(replicas_t *replicas, int32_t id) noexcept nogil
# Whether it is not counted but has all that is committed, so that the controller may be asked to take it in.
cdef bint replica_may_join(const replicas_t *replicas, const replica_t *replica, int64_t mark) noexcept nogil
