"""Life of a connection on its network thread."""

from libc.stdint cimport int32_t, uint64_t
from kafkax._core.linux cimport sockaddr_in6
from kafkax._core.network cimport connection_t, network_thread_t

cdef void connection_open(network_thread_t *thread, int32_t fd, int32_t listener, const sockaddr_in6 *address) noexcept nogil
"""Serve an accepted socket, which this owns from here on."""
cdef connection_t *connection_find(network_thread_t *thread, uint64_t id) noexcept nogil
"""The connection of an id, or NULL when it is gone."""
cdef void connection_close(connection_t *connection, int32_t reason) noexcept nogil
"""End it now; the struct stays until the thread's loop has turned (``bury``)."""
cdef void connection_work(connection_t *connection) noexcept nogil
"""Have the thread look at it in this turn of its loop."""
cdef void work_through(network_thread_t *thread, void (*each)(connection_t *connection) noexcept nogil) noexcept nogil
"""One turn for every connection that has something to do; what it leaves undone waits for the next turn. ``work_next`` of the
last one is NULL."""
cdef void connection_touch(connection_t *connection) noexcept nogil
"""Count it as active now."""
cdef void connection_starve(connection_t *connection, int32_t starved) noexcept nogil
"""It reads no further until there is room for what ``starved`` names."""
cdef bint may_feed(network_thread_t *thread) noexcept nogil
"""Whether there is room for some that starve."""
cdef void feed(network_thread_t *thread) noexcept nogil
"""Have the starved connections that there is room for looked at again."""
cdef void bury(network_thread_t *thread) noexcept nogil
"""Free connections that were closed in this turn."""
