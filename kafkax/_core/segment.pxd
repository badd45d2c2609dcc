"""A segment: the ``.log`` file with its offset, time and aborted-transaction index, shared by reference count.

File descriptors and index maps come with the first use. A slice holds a reference, so what it names stays readable
after truncation, retention and deletion."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from kafkax._core.files cimport directory_t
from kafkax._core.index cimport index_t
from kafkax._core.pthreads cimport pthread_mutex_t

cdef struct segment_t:
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
    int64_t flushed_size
    int32_t loaded
    int32_t deleted
    int32_t directory_synced
    # Entries in the aborted-transaction index; -1 when the file was not looked at yet.
    int32_t has_aborted
    index_t offsets
    index_t times
    directory_t *directory
    # What deletion or compaction put behind the file names; empty in service.
    char suffix[16]
    pthread_mutex_t lock

cdef struct slice_t:
    # One reference, or NULL for an empty slice.
    segment_t *segment
    int64_t position
    int64_t length

cdef void segment_retain(segment_t *segment) noexcept nogil
cdef void segment_release(segment_t *segment) noexcept nogil

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
