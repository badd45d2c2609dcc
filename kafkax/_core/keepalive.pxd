"""Heartbeats of a process whose interpreter is stuck: sent by a thread that never needs the GIL."""

from libc.stdint cimport int64_t, uint8_t

from kafkax._core.pthreads cimport pthread_cond_t, pthread_mutex_t


cdef class Keepalive:
    cdef pthread_mutex_t _lock
    cdef pthread_cond_t _changed
    # A socket of its own, -1 when there is none.
    cdef int _fd
    cdef uint8_t *_frame
    cdef size_t _size
    cdef int64_t _interval
    # Monotonic nanoseconds: when the next one is due, and after which none is.
    cdef int64_t _due
    cdef int64_t _limit
    cdef int64_t _sent
    cdef bint _stopped

    cdef void _loop(self) noexcept nogil
    cdef void _drop(self) noexcept nogil
