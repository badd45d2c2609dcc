"""Incremental fetch sessions (KIP-227): the broker remembers what a client follows, and answers only what has news."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.fetch_state cimport fetch_t, session_t

cdef struct sessions_t

cdef sessions_t *sessions_new(int64_t slots) noexcept nogil
"""A cache of at most ``slots`` sessions (max.incremental.fetch.session.cache.slots); NULL without memory."""
cdef void sessions_free(sessions_t *sessions) noexcept nogil
cdef int32_t sessions_count(sessions_t *sessions) noexcept nogil

cdef fetch_t *session_enter(sessions_t *sessions, fetch_t *fetch, int64_t now_ms) noexcept nogil
"""Apply a request to its session. Returns the request to serve: itself (``error`` set when the session says no), or for an
incremental one a new request for everything that the session follows, with a reference of the session. NULL without memory."""
cdef void session_leave(session_t *session) noexcept nogil
"""Give a reference back."""
cdef void session_answer(sessions_t *sessions, fetch_t *fetch, int64_t now_ms) noexcept nogil
"""Before a request is answered: create the session of a full one (``session_id`` 0 when there is no room), and leave out of
an incremental one what has no news (``told``); ``error`` when the session moved on meanwhile."""
