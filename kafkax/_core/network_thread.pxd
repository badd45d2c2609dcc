"""A network thread: its loop over epoll, mailbox, timers and connections."""

from libc.stdint cimport int32_t
from kafkax._core.network cimport network_thread_t, reactor_t

cdef int32_t thread_init(reactor_t *reactor, int32_t number) noexcept nogil
"""Set a thread's struct up without running it; 0 or errno."""
cdef int32_t thread_start(network_thread_t *thread) noexcept nogil
cdef void thread_free(network_thread_t *thread) noexcept nogil
"""Release everything of a thread that has ended or never ran."""
cdef int32_t watch_listener(reactor_t *reactor, int32_t listener) noexcept nogil
"""Have the first thread accept connections of a listener; 0 or errno."""
