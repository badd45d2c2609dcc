"""A segment: the ``.log`` file with its offset, time and aborted-transaction index, shared by reference count.

File descriptors and index maps come with the first use. A slice holds a reference, so what it names stays readable
after truncation, retention and deletion."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from kafkax._core.batch cimport batch_t
from kafkax._core.files cimport directory_t, disk_t, iovec
from kafkax._core.index cimport index_t
from kafkax._core.pthreads cimport pthread_mutex_t
from kafkax._core.room cimport room_t

cdef enum:
    SEGMENT_LINES = 6

cdef struct segment_t:
    # What an append needs stands in the first SEGMENT_LINES cache lines.
    int32_t refs
    # -1 until the first use; read it with ``segment_fd``.
    int32_t fd
    int64_t base_offset
    # Bytes in the log file that are whole batches; published after the write.
    int64_t size
    int64_t created_ms
    # max timestamp of the first batch, which time-based rolling counts from; -1 when not known yet.
    int64_t first_timestamp
    # Largest timestamp so far, and the last offset of its batch; -1 when empty. Valid once ``loaded``.
    int64_t max_timestamp
    int64_t max_timestamp_offset
    int64_t bytes_since_index
    int64_t preallocated
    # Indexes are mapped for adding.
    int32_t prepared
    # The timestamps are known.
    int32_t loaded
    # Guarded by the append lock.
    room_t room
    index_t offsets
    index_t times
    int64_t flushed_size
    int32_t sealed
    # Out of service: nothing of it is synced any more.
    int32_t deleted
    # Its name in the folder is on disk.
    int32_t directory_synced
    # Entries in the aborted-transaction index; -1 when the file was not looked at yet.
    int32_t aborted_count
    int32_t aborted_dirty
    directory_t *directory
    # What deletion or compaction put behind the file names; empty in service.
    char suffix[16]
    pthread_mutex_t lock

cdef struct slice_t:
    # One reference, or NULL for an empty slice.
    segment_t *segment
    int64_t position
    int64_t length

cdef struct found_t:
    # Where a batch stands, and what its header says.
    int64_t position
    int64_t size
    int64_t base_offset
    int64_t last_offset
    int64_t max_timestamp
    int32_t leader_epoch

cdef segment_t *segment_new(directory_t *directory, int64_t base_offset, int64_t size, int64_t created_ms) noexcept nogil
cdef void segment_retain(segment_t *segment) noexcept nogil
cdef void segment_release(segment_t *segment) noexcept nogil

# Name of one of the segment's files into ``out`` (at least 64 bytes): ``kind`` is ``.log``, ``.index``, ``.timeindex`` or
# ``.txnindex``.
cdef void segment_name(segment_t *segment, const char *kind, char *out) noexcept nogil

# Begin with new, empty files; 0 or errno.
cdef int32_t segment_create(segment_t *segment, int64_t index_bytes, int64_t preallocate) noexcept nogil

# Have indexes mapped for adding, the log file open and the timestamps known; 0, errno, or CORE_END when an index is missing
# or wrong. Append lock held.
cdef int32_t segment_prepare(segment_t *segment, int64_t index_bytes) noexcept nogil

# Write ``parts`` (used up, with room for ``ZERO_PARTS`` more) at the end, without counting them yet; 0 or errno. Of a failed
# write nothing is left to be found by a later recovery. Up to byte ``most`` the file may get room ahead, a window (counted at
# ``disk``) only if that is not NULL: where somebody flushes, who sees when it is not needed any more. Append lock held.
cdef int32_t segment_write(segment_t *segment, iovec *parts, int32_t count, int64_t most, disk_t *disk) noexcept nogil

# Write whole batches, whose bytes ``parts`` are, as above, and index them; 0 or errno.
cdef int32_t segment_append(segment_t *segment, iovec *parts, int32_t part_count, batch_t **batches, int32_t count,
                            int64_t most, int64_t index_interval, disk_t *disk) noexcept nogil

# Note a batch at ``position`` in timestamps and indexes, as an append of it does; 0 or errno.
cdef int32_t segment_note(segment_t *segment, const batch_t *batch, int64_t position, int64_t index_interval) noexcept nogil

# First batch whose last offset is >= ``offset``, below byte ``limit``: 0, CORE_END when there is none, CORE_INDEX_WRONG when
# index and log disagree, ERR_CORRUPT_MESSAGE, CORE_IO_ERROR; CORE_COLD when only the disk knows and the caller does not ``wait``.
cdef int32_t segment_find(segment_t *segment, int64_t offset, int64_t limit, bint wait, found_t *out) noexcept nogil

# The batch at ``position``; codes as above.
cdef int32_t segment_batch_at(segment_t *segment, int64_t position, int64_t limit, found_t *out) noexcept nogil

# Map the indexes to read, unless they are mapped; 0, errno or CORE_END when one is missing or wrong.
cdef int32_t segment_map(segment_t *segment) noexcept nogil

# Largest timestamp and its offset from the time index; 0, errno or CORE_END when the index is missing or wrong.
cdef int32_t segment_load(segment_t *segment) noexcept nogil

# No more appends: add the closing time index entry and cut the indexes to their entries; 0 or errno. Append lock held.
cdef int32_t segment_seal(segment_t *segment) noexcept nogil

# Seal and unmap; the log file stays open for slices.
cdef int32_t segment_close(segment_t *segment) noexcept nogil

# Drop bytes from ``position`` (where ``offset`` begins) on; 0 or errno. Append lock held.
cdef int32_t segment_truncate(segment_t *segment, int64_t position, int64_t offset) noexcept nogil

# Put another suffix behind the names of all its files; 0 or errno.
cdef int32_t segment_rename(segment_t *segment, const char *suffix) noexcept nogil

# A read failed with that errno: take the log directory offline, unless the segment is out of service anyway.
cdef void segment_failed(segment_t *segment, int32_t error) noexcept nogil

# Sync the log file up to ``size`` at least; 0 or errno. With a ``barrier`` (see there) only data is, which only replaces blocks
# that are safe; -1: all of it. Flush lock held.
cdef int32_t segment_sync(segment_t *segment, int64_t size, int32_t barrier) noexcept nogil

# File descriptor of the log file for ``sendfile`` and ``preadv2``, opened when needed; -errno when it cannot be.
cdef int32_t segment_fd(segment_t *segment) noexcept nogil

cdef inline void slice_release(slice_t *piece) noexcept nogil:
    """Give the slice's reference back; the slice is empty then."""
    if piece.segment != NULL:
        segment_release(piece.segment)
        piece.segment = NULL
    piece.length = 0


# Python's face of a slice; owns its reference.
cdef class FileSlice:
    cdef slice_t piece

    @staticmethod
    # Object that takes the slice's reference over.
    cdef FileSlice adopt(slice_t piece)
