"""How a network thread waits for events: where they come soon, by looking again and again for a moment before it sleeps."""

from libc.stdint cimport int32_t
from kafkax._core.linux cimport epoll_event
from kafkax._core.network cimport network_thread_t

cdef int32_t wait_for_events(network_thread_t *thread, epoll_event *events, int32_t room, int32_t milliseconds) noexcept nogil
"""``epoll_wait`` with a moment of looking (``network.busy.poll.us``) before; how many events there are."""
