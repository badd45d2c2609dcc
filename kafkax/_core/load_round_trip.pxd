from libc.stdint cimport int64_t, uint64_t

from kafkax._core.histogram cimport Histogram, histogram_t
from kafkax._core.load_connection cimport connection_t, target_t

cdef struct round_trip_t:
    connection_t producer
    connection_t consumer
    target_t produced
    target_t fetched
    histogram_t* acknowledged
    histogram_t* delivered
    int64_t due              # when the record under way was meant to be sent, ns of the monotonic clock
    int64_t awaited          # records sent and not yet delivered
    int64_t failed           # Kafka error code of the answer that ended the run
    int64_t sent             # read by another thread while it runs
    int64_t stop


cdef class RoundTrip:
    cdef round_trip_t data
    cdef object sockets
    cdef object targets
    cdef readonly Histogram acknowledged
    cdef readonly Histogram delivered
    cdef fail(self, int code)
