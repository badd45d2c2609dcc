"""Opening a log: what stands in the folder, what of it is good, and what it says about producers."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.logstate cimport log_t

cdef struct progress_t:
    int64_t bytes_total
    int64_t bytes_done
    int64_t bytes_cut

# Read the folder into a new log; 0, errno, or ERR_CORRUPT_MESSAGE. ``progress`` may be NULL.
cdef int32_t log_load_folder(log_t *log, bint clean, int64_t recovery_point, int64_t log_start_offset,
                             progress_t *progress) noexcept nogil
