"""Heartbeats of a process whose interpreter is stuck.

While Python runs it says so by ``pet`` and nothing is sent here. Once it has been silent for longer than its heartbeats take,
the frame that it left is sent at its interval, until it speaks again or the limit is reached: a process that is stuck for good
loses its membership. Nothing is read: whoever shares the socket sees the answers when it runs again."""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, timespec
from posix.unistd cimport close

from kafkax._core.atomics cimport kx_load64, kx_store64
from kafkax._core.linux cimport monotonic_ns
from kafkax._core.pthreads cimport (
    pthread_cond_broadcast, pthread_cond_destroy, pthread_cond_init, pthread_cond_timedwait, pthread_cond_wait,
    pthread_condattr_destroy, pthread_condattr_init, pthread_condattr_setclock, pthread_condattr_t, pthread_mutex_destroy,
    pthread_mutex_init, pthread_mutex_lock, pthread_mutex_unlock,
)

import os

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
        SHUT_RDWR
    ssize_t send(int fd, const void *data, size_t size, int flags) noexcept
    int shutdown(int fd, int how) noexcept

cdef enum:
    SECOND = 1000000000


cdef class Keepalive:

    def __cinit__(self):
        cdef pthread_condattr_t attributes
        self._fd = -1
        pthread_mutex_init(&self._lock, NULL)
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(&self._changed, &attributes)
        pthread_condattr_destroy(&attributes)

    def __dealloc__(self):
        self._drop()
        free(self._frame)
        pthread_cond_destroy(&self._changed)
        pthread_mutex_destroy(&self._lock)

    cdef void _drop(self) noexcept nogil:
        """Let go of the socket; with the lock held, or nobody else there."""
        if self._fd >= 0:
            close(self._fd)
            self._fd = -1

    cdef void _loop(self) noexcept nogil:
        cdef timespec until
        cdef int64_t now
        pthread_mutex_lock(&self._lock)
        while not self._stopped:
            now = monotonic_ns()
            if self._fd < 0 or self._size == 0 or now >= self._limit:
                pthread_cond_wait(&self._changed, &self._lock)
            elif now < self._due:
                until.tv_sec = self._due // SECOND
                until.tv_nsec = self._due % SECOND
                pthread_cond_timedwait(&self._changed, &self._lock, &until)
            elif send(self._fd, self._frame, self._size, MSG_DONTWAIT | MSG_NOSIGNAL) == <ssize_t>self._size:
                kx_store64(&self._sent, self._sent + 1)
                self._due = now + self._interval
            else:
                # Part of a frame may be out: nothing that follows would be understood.
                shutdown(self._fd, SHUT_RDWR)
                self._drop()
        self._drop()
        pthread_mutex_unlock(&self._lock)

    def run(self):
        with nogil:
            self._loop()

    def adopt(self, int fd):
        cdef int own = os.dup(fd)
        pthread_mutex_lock(&self._lock)
        self._drop()
        self._fd = own
        pthread_cond_broadcast(&self._changed)
        pthread_mutex_unlock(&self._lock)

    def pet(self, const uint8_t[::1] frame not None, double interval, double limit):
        cdef size_t size = frame.shape[0]
        cdef uint8_t *copy = <uint8_t *>malloc(max(size, 1))
        cdef uint8_t *old
        cdef int64_t now = monotonic_ns()
        if copy == NULL:
            raise MemoryError(f"no {size} bytes for a heartbeat")
        if size:
            memcpy(copy, &frame[0], size)
        pthread_mutex_lock(&self._lock)
        old = self._frame
        self._frame = copy
        self._size = size
        self._interval = <int64_t>(interval * SECOND)
        # Python's own heartbeat may be late by half an interval before anything is wrong.
        self._due = now + self._interval + self._interval // 2
        self._limit = now + <int64_t>(limit * SECOND)
        pthread_cond_broadcast(&self._changed)
        pthread_mutex_unlock(&self._lock)
        free(old)

    def rest(self):
        pthread_mutex_lock(&self._lock)
        self._size = 0
        pthread_mutex_unlock(&self._lock)

    def stop(self):
        pthread_mutex_lock(&self._lock)
        self._stopped = True
        pthread_cond_broadcast(&self._changed)
        pthread_mutex_unlock(&self._lock)

    @property
    def sent(self):
        return kx_load64(&self._sent)
