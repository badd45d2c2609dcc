"""A mapped window of an active segment's file behind its end, for logs that get one small append after the other.

Such an append is mostly what the kernel does for every write, 1 to 3 us by how many files there are; a copy into a window is a
tenth of it, but for the first one into each page, which costs what several writes do. So only small appends go there, and only
where there were several since the last flush; the others are written as ever, past the window. The page cache is the same in
either case. The window's blocks are allocated before it is mapped, so that a full disk is met there and not by a copy."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.files cimport disk_t, iovec

cdef struct window_t:
    # Bytes ``begin`` to ``end`` of the file, which may reach so far; NULL while none are mapped. Guarded by the append lock;
    # ``end`` is read anywhere.
    char *at
    int64_t begin
    int64_t end
    # Small appends since the last flush.
    int32_t small
    # The file system refused one: no more for this file.
    int32_t refused
    # Where it is counted, borrowed; NULL while nothing is mapped.
    disk_t *disk

# Have the window hold ``length`` bytes at ``size``, the file's end, if that is worth it; not behind byte ``most``. At most
# ``disk.windows_most`` of a log directory have one at a time, and all of them together a small part of the free disk.
cdef bint window_ready(window_t *window, disk_t *disk, int32_t fd, int64_t size, int64_t length, int64_t most) noexcept nogil

# Copy ``parts`` to byte ``size`` of the file, for which it is ready; 0, or EIO where the disk fails.
cdef int32_t window_write(window_t *window, const iovec *parts, int32_t count, int64_t size) noexcept nogil

# Where byte ``size`` of the file is mapped, for nothing but to have it fetched; NULL where it is not.
cdef inline void *window_next(const window_t *window, int64_t size) noexcept nogil:
    return NULL if window.at == NULL else window.at + (size - window.begin)


# A flush begins: count anew.
cdef void window_flush(window_t *window) noexcept nogil

# Its end counts no more; what is behind the log's end stays in the file, for the caller to cut or write over.
cdef void window_close(window_t *window) noexcept nogil
