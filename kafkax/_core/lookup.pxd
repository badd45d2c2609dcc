"""Finding things in a log: by offset, by timestamp, and the aborted transactions in a range."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.aborted cimport aborted_list_t
from kafkax._core.logstate cimport log_t, read_result_t
from kafkax._core.segment cimport found_t, segment_t

cdef struct moment_t:
    int64_t timestamp
    int64_t offset
    int32_t leader_epoch

# Marks into ``out``; nothing else in it.
cdef void log_marks(log_t *log, read_result_t *out) noexcept nogil

# Bytes from the batch that holds ``offset`` on, up to the mark of ``isolation`` (``READ_*``): 0 (an empty slice: nothing there
# yet), a wire error code, or CORE_COLD when that needs the disk and the caller does not ``wait``.
cdef int32_t log_read(log_t *log, int64_t offset, int64_t max_bytes, bint min_one_batch, int32_t isolation,
                      bint wait, read_result_t *out) noexcept nogil

# ``segment_find``, with a wrong index rebuilt; OK, CORE_END, ERR_KAFKA_STORAGE_ERROR, or CORE_COLD.
cdef int32_t log_find(log_t *log, segment_t *segment, int64_t offset, int64_t limit, bint wait, found_t *out) noexcept nogil

# Timestamps of a segment, with indexes rebuilt where they are wrong; 0 or errno.
cdef int32_t log_load(log_t *log, segment_t *segment) noexcept nogil

# Aborted transactions that overlap [first, end), ordered by first offset; ``out.entries`` is the caller's.
cdef int32_t log_aborted(log_t *log, int64_t first, int64_t end, aborted_list_t *out) noexcept nogil

# First record at or after ``timestamp``: OK, CORE_END, or ERR_KAFKA_STORAGE_ERROR.
cdef int32_t log_at_timestamp(log_t *log, int64_t timestamp, moment_t *out) noexcept nogil

# The record with the largest timestamp: OK, CORE_END, or ERR_KAFKA_STORAGE_ERROR.
cdef int32_t log_at_max_timestamp(log_t *log, moment_t *out) noexcept nogil
