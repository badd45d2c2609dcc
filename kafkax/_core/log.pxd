"""Python's face of a log."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.logstate cimport append_result_t, log_settings_t, log_t, read_result_t
from kafkax._core.recover cimport progress_t
from kafkax._core.shrink cimport retired_t


cdef class LogSettings:
    cdef log_settings_t settings


cdef class RecoveryProgress:
    cdef progress_t progress


cdef class Log:
    cdef log_t *log
    cdef object check(self, int32_t code, str what)
    cdef list retired_paths(self, retired_t *retired)
    cdef int32_t shut(self) noexcept nogil
    cdef void drop_segments(self) noexcept nogil


# Results as Python objects, for the faces of a log and a partition alike.
cdef object append_result(const append_result_t *result)
cdef object aborted_list(const read_result_t *result)

# Raise what an append that failed deserves; ``result`` has nothing of its own afterwards.
cdef object raise_append(int32_t code, append_result_t *result)
cdef int32_t origin_of(str origin, bint validated) except -1
