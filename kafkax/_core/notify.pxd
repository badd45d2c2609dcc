"""Events from threads without the GIL to the Python loop: a queue behind an eventfd."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.pthreads cimport pthread_mutex_t

cdef struct event_t:
    int64_t token
    int64_t value

cdef struct notify_t:
    int32_t refs
    int32_t fd
    event_t *events
    size_t count
    size_t room
    pthread_mutex_t lock

# A queue with one reference; NULL when memory or file descriptors ran out.
cdef notify_t *notify_new() noexcept nogil

cdef void notify_retain(notify_t *queue) noexcept nogil
cdef void notify_release(notify_t *queue) noexcept nogil

# Put an event for the callback that Python registered under ``token``; 0, or CORE_NO_MEMORY.
cdef int32_t notify_push(notify_t *queue, int64_t token, int64_t value) noexcept nogil


cdef class NotifyQueue:
    cdef notify_t *queue
    cdef dict _callbacks
    cdef int64_t _next
    cdef int64_t add(self, object callback, bint once)
    cdef void drop(self, int64_t token)
