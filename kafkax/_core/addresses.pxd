"""Connections per peer address, for ``max.connections.per.ip``."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.linux cimport sockaddr_in6
from kafkax._core.network cimport reactor_t

cdef bint address_enter(reactor_t *reactor, const sockaddr_in6 *address) noexcept nogil
"""Count a new connection; False when its address has as many as it may (not counted then)."""
cdef void address_leave(reactor_t *reactor, const sockaddr_in6 *address) noexcept nogil
cdef void addresses_free(reactor_t *reactor) noexcept nogil
