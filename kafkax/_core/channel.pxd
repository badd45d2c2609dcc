"""A client's end of a connection: what was asked and not yet answered, and the frames that arrive."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

from kafkax._core.latch cimport Latch


cdef class Channel


cdef class Pending:
    cdef Pending _next
    cdef object _answer
    # Where the answer is given on the loop's thread only; else None.
    cdef Channel _home
    # -1 until it was sent.
    cdef readonly int32_t correlation_id
    cdef readonly int16_t api_key
    # Monotonic seconds at which the connection is given up, and seconds from sending to that.
    cdef readonly double deadline
    cdef readonly double timeout

    cdef object answered(self, object answer)


cdef class Channel:
    cdef readonly object address
    # Socket that any thread may use; -1 with TLS and when there is none.
    cdef public int fd
    # The same while any thread may send to it and receive from it, -1 when it is about to be closed.
    cdef public int shared_fd
    # Monotonic seconds until which a caller receives, so that the I/O thread need not.
    cdef public double taken_until
    # Thread that it was made on.
    cdef int64_t _owner
    # What sends with TLS.
    cdef public object transport
    # Monotonic seconds when the last request was sent.
    cdef readonly double used
    # Until when somebody looks at what is overdue; infinite when nobody does.
    cdef public double watched_until
    # Of the thread that owns the connection; None where the tests have none. It takes calls without running any Python.
    cdef public object loop
    # Held for a moment by whoever sends or receives; no answer is given under it.
    cdef readonly Latch lock
    # Held by whoever receives until the answers are given: their order is that of the requests.
    cdef Latch _turn
    cdef readonly list unsent
    cdef readonly int32_t in_flight
    # How many of them are Produce.
    cdef public int32_t produces
    cdef Pending _first
    cdef Pending _last
    cdef int32_t _correlation_id
    cdef int64_t _limit
    cdef dict _headers
    cdef object _scratch
    cdef uint8_t *_room
    cdef Py_ssize_t _filled
    # A frame that the scratch buffer can't hold.
    cdef object _large
    cdef Py_ssize_t _large_size
    cdef Py_ssize_t _large_filled
    cdef list _frames

    cpdef take_over(self)
    cpdef receive(self)
    cdef Pending _pop(self)
    cdef object _arrived(self, Py_ssize_t size)
    cdef object _split(self)
    cdef object _receive(self)
    cdef object _hand_out(self, object error)
    cdef object _call_soon(self, object function, tuple arguments)
    cdef object _broken(self, object error)
    cdef object _write(self, int16_t api_key, int16_t version, list parts)
    cdef int32_t post(self, int16_t api_key, int16_t version, list parts, double timeout, Pending pending) except -1
