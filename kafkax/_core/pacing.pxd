"""Connections within one machine are not paced."""

from kafkax._core.linux cimport sockaddr_in6

# Go back to a host's own congestion control, unless the peer is on the loopback; an empty name changes nothing.
cdef void pace_peer(int fd, const sockaddr_in6 *peer, const char *own) noexcept nogil
