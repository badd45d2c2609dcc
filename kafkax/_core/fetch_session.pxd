"""Incremental fetch sessions (KIP-227): the broker remembers what a client follows, and answers only what has news."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.fetch_state cimport fetch_t, session_t
from kafkax._core.network cimport reactor_t

cdef int32_t sessions_open(reactor_t *reactor) noexcept nogil
"""Give the reactor its cache of ``max.incremental.fetch.session.cache.slots`` sessions; 0 or CORE_NO_MEMORY."""
cdef void sessions_close(reactor_t *reactor) noexcept nogil
cdef int32_t sessions_count(reactor_t *reactor) noexcept nogil

cdef fetch_t *session_enter(reactor_t *reactor, fetch_t *fetch, int64_t now_ms) noexcept nogil
"""Apply a request to its session. Returns the request to serve: itself (``error`` set when the session says no), or for an
incremental one a new request for everything that the session follows, with a reference of the session. NULL without memory."""
cdef void session_leave(session_t *session) noexcept nogil
"""Give a reference back."""
cdef void session_answer(reactor_t *reactor, fetch_t *fetch, int64_t now_ms) noexcept nogil
"""Before a request is answered: create the session of a full one (``session_id`` 0 when there is no room), and leave out of
an incremental one what has no news (``told``); ``error`` when the session moved on meanwhile."""
