"""Bytes out of and into a non-blocking socket. What is small is done without letting go of the GIL: a thread that lets go of it
for a call of some microseconds may wait for it far longer."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.string cimport memset

from kafkax._core.linux cimport MSG_DONTWAIT, MSG_NOSIGNAL, iovec, msghdr, recv, sendmsg

import os

cdef enum:
    MOST_PARTS = 64
    # Bytes from which copying takes longer than getting the GIL back.
    LARGE = 32768


cdef object failed():
    return OSError(errno, os.strerror(errno))


cdef object left_over(list parts, size_t sent):
    """The parts behind the first ``sent`` bytes."""
    left = []
    for part in parts:
        view = memoryview(part)
        if sent >= <size_t>view.nbytes:
            sent -= view.nbytes
        else:
            left.append(view[sent:] if sent else view)
            sent = 0
    return left


@cython.final
cdef class Held:
    """Buffers that are held while their memory is used."""
    cdef Py_buffer[MOST_PARTS] views
    cdef int count

    def __dealloc__(self):
        cdef int index
        for index in range(self.count):
            PyBuffer_Release(&self.views[index])


cpdef object send_parts(int fd, list parts):
    cdef iovec[MOST_PARTS] vectors
    cdef msghdr message
    cdef Held held = Held()
    cdef size_t size = 0
    cdef ssize_t sent
    for part in parts[:MOST_PARTS]:
        PyObject_GetBuffer(part, &held.views[held.count], PyBUF_SIMPLE)
        vectors[held.count].iov_base = held.views[held.count].buf
        vectors[held.count].iov_len = held.views[held.count].len
        size += held.views[held.count].len
        held.count += 1
    memset(&message, 0, sizeof(message))
    message.msg_iov = vectors
    message.msg_iovlen = held.count
    if size < LARGE:
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
    else:
        with nogil:
            sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
    if sent < 0:
        if errno != EAGAIN and errno != EINTR:
            raise failed()
        sent = 0
    return None if <size_t>sent == size and len(parts) <= MOST_PARTS else left_over(parts, sent)


cdef ssize_t receive_at(int fd, uint8_t *at, size_t most) except -2:
    cdef ssize_t size
    if most < LARGE * 4:
        size = recv(fd, at, most, MSG_DONTWAIT)
    else:
        with nogil:
            size = recv(fd, at, most, MSG_DONTWAIT)
    if size < 0:
        if errno != EAGAIN and errno != EINTR:
            raise failed()
        return -1
    return size


def receive_into(int fd, uint8_t[::1] room not None):
    return receive_at(fd, &room[0], room.shape[0])
