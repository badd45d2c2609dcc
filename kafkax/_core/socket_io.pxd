"""Bytes out of and into a non-blocking socket."""

from libc.stdint cimport uint8_t

cpdef object send_parts(int fd, list parts)

# Bytes that were received, 0 at the end, -1 when there are none yet.
cdef ssize_t receive_at(int fd, uint8_t *at, size_t most) except -2
