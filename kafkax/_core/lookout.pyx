"""A caller who waits for what arrives on its client's sockets."""

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint64_t
from posix.unistd cimport close, read

from kafkax._core.channel cimport Channel
from kafkax._core.linux cimport monotonic_ns

import os

cdef extern from "<poll.h>" nogil:
    enum:
        POLLIN
    int poll(pollfd *, unsigned long, int)

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    PATIENCE_NS = 250000
    # A long wait counts as so many patiences, and each wait as one of so many.
    MOST_PATIENCES = 4
    WEIGHT = 8
    FEW = 64


cdef class Lookout:

    def __cinit__(self):
        self.event = -1

    def __init__(self, patience_ns=None):
        if patience_ns is None:
            # Whoever answers needs a processor, too.
            patience_ns = PATIENCE_NS if len(os.sched_getaffinity(0)) > 1 else 0
        self.patience_ns = patience_ns
        self.usual_ns = MOST_PATIENCES * PATIENCE_NS
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __dealloc__(self):
        if self.event >= 0:
            close(self.event)

    def wake(self):
        if self.waiting:
            os.eventfd_write(self.event, 1)

    cdef int _look(self, pollfd *polled, unsigned long count, int64_t end) noexcept nogil:
        """Poll without sleeping until a time; 0 when it found nothing."""
        cdef int found = 0
        while found == 0 and monotonic_ns() < end:
            sched_yield()
            found = poll(polled, count, 0)
        return found

    cdef int _poll(self, pollfd *polled, unsigned long count, int timeout) except -2:
        """How many are ready; -1 when a signal came."""
        cdef int64_t begun = monotonic_ns()
        cdef int found = 0
        cdef int failure = 0
        if timeout and self.usual_ns < self.patience_ns:
            with nogil:
                found = self._look(polled, count, begun + self.patience_ns)
            # A signal that came meanwhile would not interrupt the sleep.
            PyErr_CheckSignals()
        if found == 0:
            with nogil:
                found = poll(polled, count, timeout)
                failure = errno
        self.usual_ns += (min(monotonic_ns() - begun, MOST_PATIENCES * PATIENCE_NS) - self.usual_ns) // WEIGHT
        if found < 0:
            if failure != EINTR:
                raise OSError(failure, os.strerror(failure))
            PyErr_CheckSignals()
        return found

    def wait(self, done, list channels not None, int timeout):
        cdef pollfd[FEW] few
        cdef pollfd *polled = few
        cdef int count = len(channels) + 1
        cdef int index
        cdef uint64_t signals
        cdef Channel channel
        if count > FEW:
            polled = <pollfd *>PyMem_Malloc(count * sizeof(pollfd))
            if polled == NULL:
                raise MemoryError
        try:
            polled[0].fd = self.event
            for index in range(1, count):
                channel = channels[index - 1]
                channel.take_over()
                polled[index].fd = channel.shared_fd
            for index in range(count):
                polled[index].events = POLLIN
                polled[index].revents = 0
            self.waiting += 1
            try:
                if done() or self._poll(polled, count, timeout) <= 0:
                    return
            finally:
                self.waiting -= 1
            if polled[0].revents:
                read(self.event, &signals, sizeof(signals))
            for index in range(1, count):
                if polled[index].revents:
                    channel = channels[index - 1]
                    channel.receive()
        finally:
            if polled != few:
                PyMem_Free(polled)
