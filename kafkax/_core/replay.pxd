"""Producer state from disk: the newest good snapshot, and the batches behind it."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.files cimport directory_t
from kafkax._core.logstate cimport log_t

# Offsets in the names of the folder's files with that suffix (``.log``, ``.snapshot``, ...), ascending, to be freed by the
# caller: how many, or -errno.
cdef int64_t list_offsets(directory_t *directory, const char *suffix, int64_t **out) noexcept nogil

# 1 when a name in the folder ends with ``.deleted``, ``.cleaned`` or ``.swap``; 0; -errno.
cdef int64_t has_leftovers(directory_t *directory) noexcept nogil

# Set the producer state to what it was at ``offset``; later snapshots are deleted. 0 or errno. Append lock held.
cdef int32_t log_reload_producers(log_t *log, int64_t offset) noexcept nogil
