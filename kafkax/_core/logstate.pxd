"""The state of one log, what guards it, and who waits for its marks to move.

``append_lock`` is held for a whole append, roll, truncation: it orders writers. ``lock`` guards the segment array and is
held for moments, never during I/O, so that a reader finds its segment while an append writes. The marks (log start, log end,
high watermark, ...) are atomic: anyone reads them without a lock. ``wait_lock`` guards the waiter lists. Order: append, state,
wait."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t
from kafkax._core.atomics cimport kx_load32, kx_load_pointer
from kafkax._core.batch cimport record_error_t
from kafkax._core.files cimport directory_t, disk_t
from kafkax._core.flush cimport flush_item_t, flusher_t
from kafkax._core.lines cimport fetch_lines
from kafkax._core.notify cimport notify_t
from kafkax._core.producer_state cimport producers_t
from kafkax._core.epochs cimport epochs_t
from kafkax._core.pthreads cimport pthread_mutex_t
from kafkax._core.replicas cimport replicas_t
from kafkax._core.segment cimport SEGMENT_LINES, segment_t, slice_t

cdef enum:
    WAIT_HIGH_WATERMARK = 0
    WAIT_LAST_STABLE = 1
    WAIT_LOG_END = 2
    WAIT_KINDS = 3

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1
    # As a follower: up to the log end.
    READ_LOG_END = 2

    # One replica, durability ``flushed``: the high watermark is what is flushed.
    MARK_AUTO_FLUSHED = 0
    # One replica, durability ``replicated``: the high watermark is the log end.
    MARK_AUTO_LOG_END = 1
    # It follows what the replicas have as long as there are ``replicas`` (on a leader), and is set by whoever follows otherwise.
    MARK_EXTERNAL = 2

    # ``closed``: by its owner; because another log took its place in its partition, with all it had.
    LOG_CLOSED = 1
    LOG_REPLACED = 2

    LOG_LINES = 9
    # Of a small batch.
    BATCH_LINES = 3

    ORIGIN_CLIENT = 0
    # A coordinator of this broker: control batches are allowed.
    ORIGIN_COORDINATOR = 1
    # A client's batch that the control plane validated (and rewrote where it had to): records are not looked at again.
    ORIGIN_VALIDATED = 2

cdef struct log_settings_t:
    int64_t segment_bytes
    int64_t segment_ms
    int64_t index_interval_bytes
    int64_t max_message_bytes
    int64_t timestamp_before_max_ms
    int64_t timestamp_after_max_ms
    int64_t flush_messages
    int64_t flush_ms
    # Codec that every batch must have; -1: the producer's.
    int32_t compression
    bint compacted
    bint log_append_time
    # kafkax.durability is ``flushed``: what is appended is flushed at once, unless flush.messages or flush.ms make it rarer.
    bint flushed
    bint preallocate
    # Compressed records need no look inside.
    bint trust_compressed
    # A client's batch that opens a transaction goes through the control plane first.
    bint verify_transactions
    int64_t segment_jitter_ms
    int64_t segment_index_bytes
    int64_t producer_id_expiration_ms
    int64_t decompressed_max_bytes

cdef struct append_result_t:
    # First offset given out; of the original batch for a duplicate; -1 on errors.
    int64_t base_offset
    int64_t last_offset
    # What the high watermark has to reach for acks=all.
    int64_t required_offset
    # -1 with CreateTime; of a duplicate, the latest timestamp of the original batch in either case.
    int64_t log_append_time_ms
    int64_t log_start_offset
    int32_t leader_epoch
    int32_t duplicate
    # Records for which a client's batch was refused, the first ones where they are very many; owned, see
    # ``append_result_release``.
    record_error_t *record_errors
    int32_t record_error_count

cdef struct aborted_t:
    int64_t producer_id
    int64_t first_offset

cdef struct read_result_t:
    slice_t piece
    int64_t high_watermark
    int64_t last_stable_offset
    int64_t log_start_offset
    int64_t log_end_offset
    # Not even the first batch fits into the bytes asked for, and one batch was not asked for in any case: nothing is given.
    int32_t incomplete
    # Owned; ordered by first offset. With READ_COMMITTED only.
    aborted_t *aborted
    int32_t aborted_count

cdef struct log_t

cdef struct waiter_t:
    waiter_t *next
    waiter_t *prev
    # Where it is registered; NULL while it is not.
    log_t *log
    int32_t kind
    int64_t offset
    # Note that it is due, after which it may be gone. What has to be called then with ``ring``, once for all that gave the same:
    # NULL if nothing.
    void *(*wake)(waiter_t *waiter) noexcept nogil
    void (*ring)(void *bell) noexcept nogil
    void *owner

cdef struct mark_t:
    # An offset, and where it stands: the byte of the segment with that base at which it begins; -1 where that is not known.
    int64_t offset
    int64_t segment_base
    int64_t position

cdef struct log_t:
    # What an append needs stands in the first LOG_LINES cache lines.
    # First, so that an item is its log.
    flush_item_t flush_item
    disk_t *disk
    flusher_t *flusher
    # What the last append met elsewhere, for nothing but ``log_ahead``, since it may be gone: the active segment, its place in
    # the array, the producer state, and where the next goes, where that is memory.
    const void *met_segment
    const void *met_place
    const void *met_producers
    const void *met_end
    # Ordered by base offset; the last one is active. Never empty while the log is open.
    segment_t **segments
    int32_t segment_count
    int32_t closed
    int32_t mark_mode
    int32_t waiting
    # May be taken again by its holder: an exchange of logs reads under it, and reading may have to mend an index.
    pthread_mutex_t append_lock
    # Atomic copies of the marks, for those who need no position.
    int64_t log_start_offset
    int64_t log_end_offset
    # Where early write-back of the active segment has come to.
    int64_t written_back
    pthread_mutex_t lock
    # The marks themselves, under ``lock``.
    mark_t end
    mark_t high
    mark_t flushed
    int64_t high_watermark
    int64_t flushed_offset
    int64_t last_stable_offset
    # Guarded by ``append_lock`` and ``lock`` both; its transactions may be read under ``lock`` alone.
    producers_t *producers
    # Followers of the partition's leader; NULL where it has none, or is none. Guarded by ``lock``.
    replicas_t *replicas
    # Told the id of a replica that may join those in sync.
    notify_t *notify
    # Guarded by ``lock``; changed under ``append_lock`` too.
    epochs_t epochs
    int64_t roll_jitter_ms
    log_settings_t settings
    int32_t refs
    int32_t segment_room
    # Up to where a sync of this log that is under way goes, unless a truncation took it back; not above ``flushed_offset`` when
    # there is none.
    int64_t flushing_offset
    # Counts truncations: a flush that began before one proves nothing about what came after.
    int64_t generation
    # Whether the next flush syncs, or only begins write-back.
    int32_t sync_wanted
    # What a sync of the whole file system that is under way will cover; ``marked`` is 0 when it does not count for this log.
    int32_t marked
    mark_t marked_end
    int64_t marked_generation
    # File system of the folder; 0 until it is asked for.
    int64_t device
    directory_t *directory
    int64_t notify_token
    waiter_t *waiters[3]
    # The log whose place it took in its partition, for whoever still waits there; owned.
    log_t *former
    pthread_mutex_t wait_lock
    pthread_mutex_t flush_lock

# A log without segments, with one reference; it takes no reference of ``flusher`` but makes its own.
cdef log_t *log_new(const char *path, const log_settings_t *settings, flusher_t *flusher) noexcept nogil
cdef void log_retain(log_t *log) noexcept nogil
cdef void log_release(log_t *log) noexcept nogil

# Segment with the largest base offset <= ``offset``, with a new reference; NULL when there is none.
cdef segment_t *log_segment_for(log_t *log, int64_t offset) noexcept nogil
# Segment with the smallest base offset > ``offset``, with a new reference; NULL when there is none.
cdef segment_t *log_segment_after(log_t *log, int64_t offset) noexcept nogil
# Index of the segment with the largest base offset <= ``offset``, -1 when there is none; ``lock`` held.
cdef int32_t log_segment_index(log_t *log, int64_t offset) noexcept nogil
# Have the processor fetch what an append will meet beside the log itself.
cdef inline void log_ahead(log_t *log) noexcept nogil:
    fetch_lines(kx_load_pointer(<void *const *>&log.met_place), 1)
    fetch_lines(kx_load_pointer(<void *const *>&log.met_segment), SEGMENT_LINES)
    fetch_lines(kx_load_pointer(<void *const *>&log.met_producers), 1)
    fetch_lines(kx_load_pointer(<void *const *>&log.met_end), BATCH_LINES)


# The active segment, borrowed: hold the append lock.
cdef segment_t *log_active(log_t *log) noexcept nogil
# Put a segment, reference and all, into its place; 0 or CORE_NO_MEMORY.
cdef int32_t log_add_segment(log_t *log, segment_t *segment) noexcept nogil
# Take the log's disk offline and wake who waits; returns ERR_KAFKA_STORAGE_ERROR.
cdef int32_t log_fail(log_t *log, int32_t error) noexcept nogil

cdef inline bint log_failed(log_t *log) noexcept nogil:
    return kx_load32(&log.disk.failed) != 0 or kx_load32(&log.closed) != 0

# Publish a new log end behind the active segment's bytes, let the high watermark follow where it may; ``lock`` held.
cdef void log_publish_end(log_t *log, int64_t offset) noexcept nogil
# After ``log_publish_end``, without locks: wake who waited, ask for a flush, soon if ``awaited`` (by acks=all, by a leader).
cdef void log_appended(log_t *log, bint awaited) noexcept nogil
# Somebody asked in vain for what stands at ``offset``, or waits for it: if it is there, neither flushed nor covered by a flush
# under way, there is one now.
cdef void log_hurry(log_t *log, int64_t offset) noexcept nogil
# The log end offset where the high watermark is below it and waits for nothing but a flush that comes by itself; -1 otherwise.
cdef int64_t log_flush_is_all(log_t *log) noexcept nogil
# Never above the log end; wakes who waited.
cdef void log_set_high_watermark(log_t *log, int64_t offset) noexcept nogil
# A follower fetches from ``offset``, its log being the leader's that far, in the leader's epoch (-1: not told).
# 0, or ERR_NOT_LEADER_OR_FOLLOWER: the log has no such replica, or knows a later life of it.
cdef int32_t log_follower_fetched(log_t *log, int32_t leader_epoch, int32_t replica, int64_t broker_epoch,
                                  int64_t offset) noexcept nogil
# Have ``replicas`` (owned from now on; NULL: none) in place of those known; what is known of their progress is kept.
cdef void log_set_replicas(log_t *log, replicas_t *replicas) noexcept nogil
# Who moves the high watermark from now on: one of ``MARK_*``.
cdef void log_set_mark_mode(log_t *log, bint external) noexcept nogil
# Compute high watermark and last stable offset anew from what they follow; ``lock`` held.
cdef void log_settle(log_t *log) noexcept nogil
# Sync everything appended before the call: 0, or ERR_KAFKA_STORAGE_ERROR with the disk offline.
cdef int32_t log_flush(log_t *log) noexcept nogil
# Registered until woken, or 1 when the mark is there already.
cdef bint log_wait(log_t *log, waiter_t *waiter) noexcept nogil
cdef bint log_unwait(log_t *log, waiter_t *waiter) noexcept nogil
# Wake those whose mark is reached.
cdef void log_wake(log_t *log) noexcept nogil
cdef void log_wake_all(log_t *log) noexcept nogil
# Give slice and aborted transactions back.
cdef void read_result_release(read_result_t *result) noexcept nogil
