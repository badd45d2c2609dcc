"""Room in an active segment's file ahead of what is appended, for logs that are written fast."""

from libc.errno cimport errno
from libc.stdint cimport int32_t, int64_t
from posix.types cimport off_t
from posix.unistd cimport ftruncate
from kafkax._core.atomics cimport kx_add32, kx_load32, kx_load64, kx_store32, kx_store64
from kafkax._core.files cimport free_share, iovec
from kafkax._core.window cimport window_close, window_flush, window_ready, window_write

cdef extern from "<fcntl.h>" nogil:
    enum:
        FALLOC_FL_KEEP_SIZE
    int fallocate(int fd, int mode, off_t at, off_t size) noexcept

cdef enum:
    ZEROS = 65536
    # Syncs that come closer together than this, and have no more to write than the zeros that they bring along, are hasty.
    HASTY_MS = 20
    HASTY_BYTES = 262144
    # Zeros last for about so many syncs, where ``ZERO_PARTS`` does: what those bring along, which has the file's blocks written
    # and takes several times as long, is then rarer than one in a hundred.
    SYNCS_AHEAD = 256
    # Room for which nothing came for so long is given back; a window, which is small, is kept for so many flushes' time.
    IDLE_MS = 50
    WINDOW_FLUSHES = 60
    # What a file system may need beside a file's bytes, to tell them from room of a run before.
    SLACK = 65536

cdef char _zeros[ZEROS]


cdef void room_found(room_t *room, int64_t size, int64_t blocks) noexcept nogil:
    if blocks * 512 > size + SLACK:
        kx_store64(&room.blocks_end, blocks * 512)


cdef void room_flush(room_t *room, int64_t grown, bint alone, int64_t now_ms) noexcept nogil:
    if grown == 0:
        return
    kx_store32(&room.hasty, alone and grown <= HASTY_BYTES and now_ms - room.grown_ms <= HASTY_MS)
    room.grown_ms = now_ms
    kx_store64(&room.grown, grown)
    window_flush(&room.window)


cdef bint room_hasty(room_t *room, int64_t dirty) noexcept nogil:
    return kx_load32(&room.hasty) and 0 < dirty <= HASTY_BYTES


cdef bint room_copies(room_t *room, disk_t *disk, int32_t fd, const iovec *parts, int32_t count, int64_t size, int64_t most,
                      int32_t *error) noexcept nogil:
    cdef int64_t length = 0
    cdef int32_t at
    if kx_load32(&room.hasty):
        return False
    for at in range(count):
        length += parts[at].iov_len
    if not window_ready(&room.window, disk, fd, size, length, most):
        return False
    error[0] = window_write(&room.window, parts, count, size)
    return True


cdef int32_t room_zeros(room_t *room, int32_t fd, iovec *parts, int32_t count, int64_t size, int64_t most) noexcept nogil:
    cdef int64_t end = size
    cdef int64_t wanted = min(max(kx_load64(&room.grown) * SYNCS_AHEAD // ZEROS, 1), ZERO_PARTS)
    cdef int32_t added = 0
    cdef int32_t at
    if not kx_load32(&room.hasty):
        return 0
    for at in range(count):
        end += parts[at].iov_len
    if end <= room.zeros_end or free_share(fd) < wanted * ZEROS:
        return 0
    while added < wanted and end + ZEROS <= most:
        parts[count + added].iov_base = _zeros
        parts[count + added].iov_len = ZEROS
        end += ZEROS
        added += 1
    if added:
        # In this order: who sees the new end sees where the zeros begin, too, which is not reached while they are written.
        kx_store64(&room.zeros_begin, end - added * ZEROS)
        kx_store64(&room.zeros_end, end)
    return added


cdef int64_t room_sync_begins(room_t *room, int64_t size, int32_t *cuts) noexcept nogil:
    cdef int64_t end
    cuts[0] = kx_load32(&room.cuts)
    end = kx_load64(&room.zeros_end)
    return end if size >= kx_load64(&room.zeros_begin) else 0


cdef void room_synced(room_t *room, int64_t end, int32_t cuts) noexcept nogil:
    room.safe_end = end
    room.safe_cuts = cuts


cdef bint room_replaces(room_t *room, int64_t size) noexcept nogil:
    return size <= room.safe_end and room.safe_cuts == kx_load32(&room.cuts)


cdef void room_blocks(room_t *room, int32_t fd, int64_t size, int64_t most) noexcept nogil:
    cdef int64_t begin = max(size, room.blocks_end)
    cdef int64_t end
    if begin - size >= size // 2 or begin >= most:
        return
    end = min(min(3 * size, most), begin + free_share(fd))
    # Where that is refused the appends find their blocks themselves, and are told when there are none.
    if end > begin and fallocate(fd, FALLOC_FL_KEEP_SIZE, begin, end - begin) == 0:
        kx_store64(&room.blocks_end, end)


cdef bint much_ahead(room_t *room, int64_t size) noexcept nogil:
    return kx_load64(&room.zeros_end) > size or kx_load64(&room.blocks_end) > size


cdef bint room_ahead(room_t *room, int64_t size) noexcept nogil:
    return much_ahead(room, size) or kx_load64(&room.window.end) > size


cdef bint room_idle(room_t *room, int64_t size, int64_t lazy_ms, int64_t now_ms) noexcept nogil:
    cdef int64_t patience = IDLE_MS if much_ahead(room, size) else max(<int64_t>IDLE_MS, WINDOW_FLUSHES * lazy_ms)
    return room_ahead(room, size) and now_ms - room.grown_ms >= patience


cdef int32_t room_cut(room_t *room, int32_t fd, int64_t size) noexcept nogil:
    kx_add32(&room.cuts, 1)
    kx_store64(&room.zeros_end, 0)
    kx_store64(&room.blocks_end, 0)
    window_close(&room.window)
    return 0 if ftruncate(fd, size) == 0 else errno
