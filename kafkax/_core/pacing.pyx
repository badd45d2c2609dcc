"""Connections within one machine are not paced."""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp, strlen
from kafkax._core.addresses cimport address_key
from kafkax._core.linux cimport IPPROTO_TCP, TCP_CONGESTION, setsockopt, sockaddr_in6, socklen_t
from kafkax._core.network cimport CONGESTION_NAME

import ipaddress
import socket

cdef bytes PACED = b"bbr"
# What every Linux has and lets everybody use.
cdef bytes UNPACED = b"reno"


cdef bint on_loopback(const sockaddr_in6 *peer) noexcept nogil:
    """Whether it is one of 127.0.0.0/8, also written as an IPv6 address, or ::1."""
    cdef uint8_t[16] key
    cdef uint8_t[15] zeros
    cdef int at
    for at in range(15):
        zeros[at] = 0
    address_key(peer, key)
    return memcmp(key, zeros, 12) == 0 and (key[12] == 127 or (memcmp(key, zeros, 15) == 0 and key[15] == 1))


cdef void pace_peer(int fd, const sockaddr_in6 *peer, const char *own) noexcept nogil:
    # The kernel let the listener have it, so it is not refused here.
    if own[0] != 0 and not on_loopback(peer):
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, own, <socklen_t>strlen(own))


def unpaced(end):
    own = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_NAME).rstrip(b"\0")
    if not own.startswith(PACED):
        return ""
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, UNPACED)
    return own.decode()


def unpaced_within_host(end, str host):
    if ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        unpaced(end)
