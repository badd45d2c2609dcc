"""A partition as the data plane sees it: a log plus leadership, and the rules of Produce and Fetch around them."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint32_t, uint64_t, uint8_t
from kafkax._core.atomics cimport kx_load_pointer
from kafkax._core.log cimport Log
from kafkax._core.logstate cimport append_result_t, log_t, read_result_t, waiter_t
from kafkax._core.notify cimport NotifyQueue, notify_t

cdef struct partition_t:
    int32_t refs
    int32_t index
    int32_t is_leader
    # Epoch of the leadership in force, as leader or follower; -1 before the first.
    int32_t leader_epoch
    # The first epoch of a leadership that goes on; what was appended since then was never cut.
    int32_t led_since
    # Size of the in-sync replica set, the leader included.
    int32_t in_sync
    # min.insync.replicas
    int32_t min_in_sync
    int32_t removed
    log_t *log
    uint8_t topic_id[16]
    # Who leads in ``leader_epoch``, as ``leadership`` packs it, for clients that ask the wrong broker; -1: not told.
    int64_t leadership
    # So far the first cache line.
    int16_t topic_size
    char topic[250]

# The log that stands for the partition now. It stays allocated as long as the partition does, but a move to another log
# directory puts a new one in its place: who is refused by the old one looks again.
cdef inline log_t *partition_log(partition_t *partition) noexcept nogil:
    return <log_t *>kx_load_pointer(<void *const *>&partition.log)


cdef inline int64_t leadership(int32_t leader, int32_t epoch) noexcept nogil:
    """A leader's broker id (-1: nobody) and epoch in one number, so that both are read at once; -1: nothing is known."""
    return <int64_t>(<uint64_t><uint32_t>epoch << 32 | <uint32_t>leader)


cdef inline int32_t leader_of(int64_t leadership) noexcept nogil:
    return <int32_t><uint32_t>leadership


cdef inline int32_t leader_epoch_of(int64_t leadership) noexcept nogil:
    return <int32_t>(leadership >> 32)


cdef struct piece_t:
    # A batch of a run, and what became of it.
    const uint8_t *records
    size_t size
    int32_t code
    append_result_t *out

cdef void partition_retain(partition_t *partition) noexcept nogil
cdef void partition_release(partition_t *partition) noexcept nogil

# Append what a Produce request carries for the partition, as its leader.
#
# ``records`` is only read, unless ``in_place`` allows to put offset and epoch into it, which saves the kernel a list of two
# ranges. ``now_ms``: the wall clock's time, which bounds timestamps; -1 to ask for it.
#
# 0, a wire error code, or CORE_HANDOFF when the control plane has to look at the batch first
# (nothing was appended then): a compressed batch whose records must be validated, another ``compression.type``, a
# transactional batch that opens a transaction, an old magic. ``out`` is filled also on an error as far as ProduceResponse
# tells it. acks=-1 was only checked against min.insync.replicas: wait for ``out.required_offset`` by ``partition_wait`` and
# answer what ``partition_committed`` says.
cdef int32_t partition_append(partition_t *partition, const uint8_t *records, size_t size, int16_t acks, int16_t api_version,
                              int64_t now_ms, bint in_place, append_result_t *out) noexcept nogil

# Append a batch of this broker's own coordinator, in place, which is to be waited for as with acks=-1.
cdef int32_t partition_append_own(partition_t *partition, const uint8_t *records, size_t size, int64_t now_ms,
                                  append_result_t *out) noexcept nogil

# As ``partition_append`` for up to ``RUN`` batches (in place) of requests for the partition that follow one another, written
# together. Those from the first on that needs a closer look, or all where the partition cannot take them, are left to
# ``partition_append``: how many were settled, with each one's code and result in ``pieces``.
cdef int32_t partition_append_run(partition_t *partition, piece_t *pieces, int32_t count, int16_t acks, int16_t api_version,
                                  int64_t now_ms) noexcept nogil

# What became of an acks=all append in ``leader_epoch``: 0 acknowledged, CORE_PENDING, or a wire error code (leadership lost, too
# few in sync). A newer epoch of the same leader changes nothing: its log still has what was appended.
cdef int32_t partition_committed(partition_t *partition, int64_t required_offset, int32_t leader_epoch) noexcept nogil

# What a request with that leader epoch (-1: none) deserves: 0 or a wire error code.
cdef int32_t partition_check_epoch(partition_t *partition, int32_t current_leader_epoch, bint any_replica) noexcept nogil

# What a consumer's Fetch gets: 0 or a wire error code.
#
# ``isolation``: READ_UNCOMMITTED up to the high watermark, READ_COMMITTED up to the last stable offset. An empty slice with 0
# means there is nothing yet. Watermarks in ``out`` are filled on errors too. Give everything back by ``read_result_release``.
# CORE_COLD when the place has to be looked up on disk and the caller does not ``wait``.
cdef int32_t partition_read(partition_t *partition, int64_t offset, int32_t current_leader_epoch, int64_t max_bytes,
                            bint min_one_batch, int8_t isolation, bint wait, read_result_t *out) noexcept nogil

# Whether a follower's log, which ends at ``offset`` with records of ``last_epoch`` (-1: none), is the leader's that far.
# 0; CORE_END with the epoch and its end from which on it is not; ERR_OFFSET_OUT_OF_RANGE where nothing can be compared.
cdef int32_t partition_divergence(partition_t *partition, int64_t offset, int32_t last_epoch, int32_t *epoch,
                                  int64_t *end_offset) noexcept nogil

# One of ``THROTTLED_*``: whether what that replica fetches is held against the quota for throttled replicas.
cdef int32_t partition_throttle(partition_t *partition, int32_t replica) noexcept nogil

# As ``log_follower_fetched``, for the partition's log.
cdef int32_t partition_follower_fetched(partition_t *partition, int32_t leader_epoch, int32_t replica, int64_t broker_epoch,
                                        int64_t offset) noexcept nogil

# Register until the mark named by ``waiter.kind`` reaches ``waiter.offset``; 1 when it already has (not registered then).
#
# Woken once, and early when leadership, log or disk go away: look again and register anew. The caller holds a reference to
# the partition while registered. ``wake`` runs under the log's waiter lock and may only queue the waiter and signal.
cdef bint partition_wait(partition_t *partition, waiter_t *waiter) noexcept nogil

# Withdraw; 1 when the waiter was still registered, 0 when it was woken (``wake`` has then returned).
cdef bint partition_unwait(partition_t *partition, waiter_t *waiter) noexcept nogil


cdef class Partition:
    cdef partition_t *partition
    cdef object check(self, int32_t code, str what)
    cdef void notify(self, NotifyQueue queue, int64_t token)
    cdef int32_t change(self, int32_t epoch, bint leads, bint external, int64_t leader) noexcept nogil
    cdef readonly Log log
    cdef readonly str topic


# What wakes a Python waiter: apart from its object, which may not be touched without the GIL.
cdef struct wake_t:
    waiter_t waiter
    partition_t *partition
    notify_t *notify
    int64_t token


cdef class Wait:
    cdef wake_t wake
    cdef Partition partition
    cdef NotifyQueue queue
    cdef object callback
