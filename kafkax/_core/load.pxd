from libc.stdint cimport int64_t

from kafkax._core.histogram cimport Histogram, histogram_t
from kafkax._core.load_connection cimport connection_t, target_t

cdef enum:
    ERROR_CODES = 256        # counted apart: -1 (the first) to 254
    SLOW_NOTED = 16384       # of the slow ones, so many are noted

cdef struct slow_t:
    int64_t due
    int64_t latency

cdef struct load_t:
    connection_t* connections
    int connection_count
    int epoll
    int timer
    histogram_t* latency
    int64_t errors[ERROR_CODES]
    slow_t slow[SLOW_NOTED]
    int slow_count
    int64_t slow_from        # ns, 0: none is noted
    # Read by another thread while it runs.
    int64_t requests
    int64_t records
    int64_t bytes
    int64_t failed
    int64_t stop
    # Limits; 0 for none.
    int64_t max_requests
    int64_t max_records
    int64_t duration         # ns
    int64_t silence          # ns without an answer after which the broker counts as dead
    double interval          # ns from one request to the next, 0: as fast as answers come
    # The course of the run, ns of the monotonic clock.
    int64_t started
    int64_t ended
    int64_t now
    int64_t last_heard
    int64_t issued
    int next_connection
    bint issuing
    int failed_connection


cdef class Load:
    cdef load_t data
    cdef target_t* targets
    cdef object connections
    cdef readonly Histogram latency
    cdef fail(self, int code)
