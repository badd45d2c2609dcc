"""Room in an active segment's file ahead of what is appended, for logs that are written fast.

Three kinds, each for the load that it helps, measured in docs/performance.md:

- *Zeros*, where somebody waits for one small sync after the other. A sync of blocks that were written before has no file size
  and no extents to note, so it does without a commit of the file system's journal; and where the file system is known, without
  the inode, whose time of change is new with nearly every sync.
- *Blocks*, behind the file's end, where megabytes come at once: write-back then has none to look for, which it does under a lock
  that appends need.
- A *window* (`_core/window`), where small appends come that nobody waits for.

All are given back when nothing is appended for a moment, when the segment is sealed, and after a crash."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.files cimport disk_t, iovec
from kafkax._core.window cimport window_t

cdef enum:
    # Most ranges that ``room_zeros`` adds.
    ZERO_PARTS = 4

cdef struct room_t:
    # Small syncs follow each other: the next append that needs it brings zeros.
    int32_t hasty
    window_t window
    # Byte behind the zeros, and behind the blocks; not above the segment's size when there are none.
    int64_t zeros_end
    int64_t blocks_end
    # Where the last zeros begin: they are in the file once it has so many bytes of batches.
    int64_t zeros_begin
    # Up to where a sync has brought blocks, extents and size to the disk, unless the file was cut since: for whom ``cuts`` was
    # the same then. Guarded by the flush lock.
    int64_t safe_end
    int32_t safe_cuts
    int32_t cuts
    # When a flush last found something new, monotonic ms, and how many bytes.
    int64_t grown_ms
    int64_t grown

# What a segment of ``size`` bytes on ``blocks`` of 512 has from a run before.
cdef void room_found(room_t *room, int64_t size, int64_t blocks) noexcept nogil

# A flush found ``grown`` bytes more than the last; ``alone``: by a sync of this file and no other.
cdef void room_flush(room_t *room, int64_t grown, bint alone, int64_t now_ms) noexcept nogil

# Whether small syncs follow each other, and ``dirty`` bytes are as few as those have to write.
cdef bint room_hasty(room_t *room, int64_t dirty) noexcept nogil

# Whether ``parts``, which are to be written at ``size``, were copied there through the window, and how that went: 0 or errno.
cdef bint room_copies(room_t *room, disk_t *disk, int32_t fd, const iovec *parts, int32_t count, int64_t size, int64_t most,
                      int32_t *error) noexcept nogil

# Add zeros behind ``parts``, which are to be written at ``size``, where the log is written hastily and none are left; how many
# ranges. Not behind byte ``most``.
cdef int32_t room_zeros(room_t *room, int32_t fd, iovec *parts, int32_t count, int64_t size, int64_t most) noexcept nogil

# Before a sync of the file with ``size`` bytes of batches, and after it: note what it brings to the disk beside them.
cdef int64_t room_sync_begins(room_t *room, int64_t size, int32_t *cuts) noexcept nogil
cdef void room_synced(room_t *room, int64_t end, int32_t cuts) noexcept nogil

# Whether all up to ``size`` only replaces zeros that a sync has brought to the disk.
cdef bint room_replaces(room_t *room, int64_t size) noexcept nogil

# Have blocks behind ``size``, up to byte ``most``; less or none where there is no room for them.
cdef void room_blocks(room_t *room, int32_t fd, int64_t size, int64_t most) noexcept nogil

# Whether the file has more than its ``size`` bytes of batches.
cdef bint room_ahead(room_t *room, int64_t size) noexcept nogil

# Whether that was for nothing for a while, by when what nobody waits for is flushed.
cdef bint room_idle(room_t *room, int64_t size, int64_t lazy_ms, int64_t now_ms) noexcept nogil

# Cut the file to ``size``; 0 or errno.
cdef int32_t room_cut(room_t *room, int32_t fd, int64_t size) noexcept nogil
