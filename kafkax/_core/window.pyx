"""A mapped window of an active segment's file behind its end, for logs that get one small append after the other."""

from libc.errno cimport EIO
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy
from posix.mman cimport MADV_RANDOM, MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, madvise, mmap, munmap
from posix.types cimport off_t
from kafkax._core.atomics cimport kx_add32, kx_load32, kx_store32, kx_store64
from kafkax._core.files cimport free_share
from kafkax._core.guard cimport guard_unwatch, guard_watch

cdef extern from "<fcntl.h>" nogil:
    int fallocate(int fd, int mode, off_t at, off_t size) noexcept

cdef enum:
    WINDOW = 65536
    # From here on a write costs less than a copy, whose pages the kernel gives one by one.
    SMALL = 512
    # So many small appends between two flushes pay for a window.
    SEVERAL = 3


cdef inline int64_t window_begin(int64_t size) noexcept nogil:
    # A multiple of any system's page.
    return size // WINDOW * WINDOW


cdef void window_unmap(window_t *window) noexcept nogil:
    if window.at == NULL:
        return
    munmap(window.at, window.end - window.begin)
    window.at = NULL
    kx_add32(&window.disk.windows, -1)
    window.disk = NULL


cdef bint window_open(window_t *window, disk_t *disk, int32_t fd, int64_t size, int64_t end) noexcept nogil:
    cdef int64_t begin = window_begin(size)
    cdef void *at
    cdef int32_t windows = kx_add32(&disk.windows, 1)
    if windows > disk.windows_most or <int64_t>windows * WINDOW > free_share(fd):
        kx_add32(&disk.windows, -1)
        return False
    at = mmap(NULL, end - begin, PROT_READ | PROT_WRITE, MAP_SHARED, fd, begin)
    if at == MAP_FAILED:
        window.refused = 1
        kx_add32(&disk.windows, -1)
        return False
    # The pages are new: there is nothing to read ahead.
    madvise(at, end - begin, MADV_RANDOM)
    window.disk = disk
    window.at = <char *>at
    window.begin = begin
    kx_store64(&window.end, end)
    if fallocate(fd, 0, size, end - size) != 0:
        # The end stays noted: what was allocated all the same is cut with other room.
        window.refused = 1
        window_unmap(window)
        return False
    return True


cdef bint window_ready(window_t *window, disk_t *disk, int32_t fd, int64_t size, int64_t length, int64_t most) noexcept nogil:
    cdef int64_t end = min(window_begin(size) + WINDOW, most)
    if disk == NULL or length > SMALL or window.refused:
        return False
    if window.at != NULL:
        if window.begin <= size and size + length <= window.end:
            return True
        window_close(window)
    kx_store32(&window.small, kx_load32(&window.small) + 1)
    if window.small <= SEVERAL or size + length > end:
        return False
    # What comes of it, the next one has to be earned again: large appends may take the file past it, and room may be refused.
    kx_store32(&window.small, 0)
    return window_open(window, disk, fd, size, end)


cdef int32_t window_write(window_t *window, const iovec *parts, int32_t count, int64_t size) noexcept nogil:
    cdef char *to = window.at + (size - window.begin)
    cdef int32_t lost = 0
    cdef int32_t at
    guard_watch(window.at, window.end - window.begin, &lost)
    for at in range(count):
        memcpy(to, parts[at].iov_base, parts[at].iov_len)
        to += parts[at].iov_len
    return 0 if guard_unwatch() else EIO


cdef void window_flush(window_t *window) noexcept nogil:
    kx_store32(&window.small, 0)


cdef void window_close(window_t *window) noexcept nogil:
    window_unmap(window)
    kx_store64(&window.end, 0)
