"""Writing a Fetch response."""

from kafkax._core.fetch_state cimport fetch_t
from kafkax._core.network cimport answer_t

cdef answer_t *fetch_answer(fetch_t *fetch) noexcept nogil
"""The response with its length prefix; slices of records move from the request into it. NULL without memory."""
