"""Appending to a log: the checks on a batch, which need no lock, and the step under the append lock."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from kafkax._core.batch cimport BATCH_HEADER, batch_t
from kafkax._core.logstate cimport append_result_t, log_t
from kafkax._core.producer_state cimport marker_t
from kafkax._core.segment cimport segment_t

cdef enum:
    # Batches that are written by one call at most.
    RUN = 16

cdef struct plan_t:
    # A checked batch, ready to be given its offsets.
    const uint8_t *records
    int64_t now_ms
    batch_t batch
    # End marker that it holds, if ``is_marker``.
    marker_t marker
    int32_t is_marker
    int32_t origin
    # Whether offset and epoch may be put into ``records``, which then are written as they stand.
    int32_t in_place
    # Its header as it will be written, but for offset and epoch.
    uint8_t header[BATCH_HEADER]

cdef void append_result_clear(append_result_t *out, log_t *log) noexcept nogil

# Free what a result has of its own: only one of a client's batch that was refused has anything.
cdef void append_result_release(append_result_t *out) noexcept nogil

# Check one batch as the leader; 0, a wire error code or CORE_HANDOFF. ``origin``: one of ``ORIGIN_*``. No lock held.
cdef int32_t append_check(log_t *log, const uint8_t *records, size_t size, int32_t origin, int16_t api_version, int64_t now_ms,
                          plan_t *plan, append_result_t *out) noexcept nogil

# Append what was checked; 0, a wire error code or CORE_HANDOFF. Append lock held; call ``log_appended`` after its release.
cdef int32_t append_commit(log_t *log, plan_t *plan, int32_t leader_epoch, append_result_t *out) noexcept nogil

# The same for up to ``RUN`` batches in their order, written together: each one's code is in ``codes``.
cdef void append_commit_run(log_t *log, plan_t *plans, int32_t count, int32_t leader_epoch, append_result_t **outs,
                            int32_t *codes) noexcept nogil

# Append whole batches as a follower, byte for byte; takes the lock itself. 0 or a wire error code.
cdef int32_t append_as_follower(log_t *log, const uint8_t *records, size_t size) noexcept nogil

# Begin a new segment at ``base``; 0 or ERR_KAFKA_STORAGE_ERROR. Append lock held.
cdef int32_t log_roll(log_t *log, int64_t base) noexcept nogil

# Write the producer state to ``<offset>.snapshot``; 0 or errno. Append lock held.
cdef int32_t log_snapshot(log_t *log, int64_t offset) noexcept nogil

# Note a batch in producer state and, where it ends a transaction by an abort, in the segment's index; 0, errno or
# CORE_NO_MEMORY. Append lock and ``lock`` held.
cdef int32_t log_note_producer(log_t *log, segment_t *segment, const uint8_t *data, const batch_t *batch) noexcept nogil
