"""Room in an active segment's file ahead of what is appended, for logs that are written fast.

Two kinds, each for the load that it helps, measured in docs/performance.md:

- *Zeros*, where somebody waits for one small sync after the other. A sync of blocks that were written before has no file size
  and no extents to note, so it does without a commit of the file system's journal.
- *Blocks*, behind the file's end, where megabytes come at once: write-back then has none to look for, which it does under a lock
  that appends need.

Both are given back when nothing is appended for a moment, when the segment is sealed, and after a crash."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.files cimport iovec

cdef enum:
    # Most ranges that ``room_zeros`` adds.
    ZERO_PARTS = 4

cdef struct room_t:
    # Byte behind the zeros, and behind the blocks; not above the segment's size when there are none.
    int64_t zeros_end
    int64_t blocks_end
    # When a flush last found something new, monotonic ms.
    int64_t grown_ms
    # Small syncs follow each other: the next append that needs it brings zeros.
    int32_t hasty

# What a segment of ``size`` bytes on ``blocks`` of 512 has from a run before.
cdef void room_found(room_t *room, int64_t size, int64_t blocks) noexcept nogil

# A flush found ``grown`` bytes more than the last; ``alone``: by a sync of this file and no other.
cdef void room_flush(room_t *room, int64_t grown, bint alone, int64_t now_ms) noexcept nogil

# Whether small syncs follow each other, and ``dirty`` bytes are as few as those have to write.
cdef bint room_hasty(room_t *room, int64_t dirty) noexcept nogil

# Add zeros behind ``parts``, which are to be written at ``size``, where the log is written hastily and none are left; how many
# ranges. Not behind byte ``most``.
cdef int32_t room_zeros(room_t *room, int32_t fd, iovec *parts, int32_t count, int64_t size, int64_t most) noexcept nogil

# Have blocks behind ``size``, up to byte ``most``; less or none where there is no room for them.
cdef void room_blocks(room_t *room, int32_t fd, int64_t size, int64_t most) noexcept nogil

# Whether the file has more than its ``size`` bytes of batches.
cdef bint room_ahead(room_t *room, int64_t size) noexcept nogil

# Whether that was for nothing for a while.
cdef bint room_idle(room_t *room, int64_t size, int64_t now_ms) noexcept nogil

# Cut the file to ``size``; 0 or errno.
cdef int32_t room_cut(room_t *room, int32_t fd, int64_t size) noexcept nogil
