"""The answers of a connection, in request order: a slot is taken when a request is read and filled when it is done."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from kafkax._core.network cimport answer_t, connection_t

cdef answer_t *answer_slot(connection_t *connection) noexcept nogil
"""The next slot, pending; NULL without memory."""
cdef int32_t answer_now(connection_t *connection, const void *data, size_t size) noexcept nogil
"""A slot filled with a copy of ``data`` (length prefix included); 0 or CORE_NO_MEMORY."""
cdef answer_t *answer_new(size_t size) noexcept nogil
"""An answer outside any connection with ``size`` bytes to fill; NULL without memory."""
cdef void answer_fill(connection_t *connection, answer_t *slot, answer_t *content) noexcept nogil
"""Move ``content`` (freed by this) into a pending slot, which is ready then."""
cdef void answer_skip(connection_t *connection, answer_t *slot) noexcept nogil
"""Mark a pending slot as done with nothing to send."""
cdef void answer_free(answer_t *answer) noexcept nogil
cdef answer_t *answer_find(connection_t *connection, uint64_t token) noexcept nogil
"""The pending slot of a token, or NULL."""
cdef answer_t *answer_pop(connection_t *connection) noexcept nogil
"""Remove and free the first answer; the one after it, or NULL."""
