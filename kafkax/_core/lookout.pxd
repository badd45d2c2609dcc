"""A caller who waits for what arrives on its client's sockets."""

from libc.stdint cimport int64_t

cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents


cdef class Lookout:
    cdef readonly int64_t patience_ns
    # Nanoseconds that a wait takes lately.
    cdef readonly int64_t usual_ns
    # Its readiness ends a wait.
    cdef readonly int event
    cdef readonly int waiting

    cdef int _look(self, pollfd *polled, unsigned long count, int64_t end) noexcept nogil
    cdef int _poll(self, pollfd *polled, unsigned long count, int timeout) except -2
