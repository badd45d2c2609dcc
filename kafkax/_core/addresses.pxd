"""Connections per peer address, for ``max.connections.per.ip``."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from kafkax._core.linux cimport sockaddr_in6
from kafkax._core.network cimport own_limit_t, reactor_t

cdef bint address_enter(reactor_t *reactor, const sockaddr_in6 *address) noexcept nogil
"""Count a new connection; False when its address has as many as it may (not counted then)."""
cdef void address_leave(reactor_t *reactor, const sockaddr_in6 *address) noexcept nogil
cdef void limits_set(reactor_t *reactor, int64_t most, own_limit_t *own, int32_t count) noexcept nogil
"""From now on an address may have so many connections, some their own number; ``own`` is owned by the reactor then."""
cdef void addresses_free(reactor_t *reactor) noexcept nogil
cdef void address_key(const sockaddr_in6 *address, uint8_t *key) noexcept nogil
"""16 bytes that stand for a peer's address without its port; the last four are an IPv4 address."""
