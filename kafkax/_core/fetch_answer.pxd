"""Writing a Fetch response."""

from libc.stdint cimport int32_t
from kafkax._core.fetch_state cimport fetch_t
from kafkax._core.network cimport answer_t, reactor_t

cdef answer_t *fetch_answer(reactor_t *reactor, int32_t listener, fetch_t *fetch) noexcept nogil
"""The response with its length prefix; slices of records move from the request into it. NULL without memory. Clients
of the listener are told who leads what is not led here."""
