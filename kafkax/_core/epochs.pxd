"""Leader-epoch cache of a log: which epoch began at which offset; kept in Kafka's ``leader-epoch-checkpoint``."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.files cimport directory_t

cdef struct epoch_t:
    int32_t epoch
    int64_t start_offset

cdef struct epochs_t:
    epoch_t *entries
    int32_t count
    int32_t room
    # Whether the cache may differ from the checkpoint that is on the disk.
    bint changed
    # Epoch of the last entry; -1 without one.
    int32_t latest

cdef void epochs_init(epochs_t *epochs) noexcept nogil
cdef void epochs_free(epochs_t *epochs) noexcept nogil
# Read the checkpoint; a missing or unreadable one leaves the cache empty. 0, errno, or ERR_CORRUPT_MESSAGE.
cdef int32_t epochs_load(epochs_t *epochs, directory_t *directory) noexcept nogil
# Write the checkpoint if the cache differs from it; 0 or errno.  A crash may leave an older one, since recovery finds what is
# missing in the batches that it looks at: so it is written before a segment is sealed and before recovery points move on.
cdef int32_t epochs_store(epochs_t *epochs, directory_t *directory) noexcept nogil
# 1 when the cache changed, 0 when not, CORE_NO_MEMORY.
cdef int32_t epochs_assign(epochs_t *epochs, int32_t epoch, int64_t start_offset) noexcept nogil
# Largest epoch at or below ``epoch`` and where it ends; -1, -1 when not known.
cdef void epochs_end(epochs_t *epochs, int32_t epoch, int64_t log_end, int32_t *found, int64_t *end_offset) noexcept nogil
# Drop epochs that begin at or above ``offset``; whether any did.
cdef bint epochs_truncate_end(epochs_t *epochs, int64_t offset) noexcept nogil
# Let the epoch in force at ``offset`` begin there and drop earlier ones; whether anything changed.
cdef bint epochs_truncate_start(epochs_t *epochs, int64_t offset) noexcept nogil
# Epoch in force at ``offset``; -1 when not known.
cdef int32_t epochs_at(epochs_t *epochs, int64_t offset) noexcept nogil
