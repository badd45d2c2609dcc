"""Answers that stand: what the control plane would answer to the very same request again, until it says otherwise."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from kafkax._core.network cimport connection_t
from kafkax._core.pthreads cimport pthread_mutex_t

cdef struct standing_t:
    standing_t *next
    # Of the same bucket.
    uint64_t hash
    uint64_t connection
    int64_t heard_ms
    # When the core last answered; 0 never.
    int32_t silent
    # What it answers is no sign of life.
    const int64_t *round
    # Of the group, now.
    int64_t kept_in
    # The round in which the answer was given.
    size_t frame_size
    size_t answer_size
    uint8_t data[1]
    # The frame, then the answer with its length.

cdef struct standings_t:
    pthread_mutex_t lock
    standing_t **buckets
    size_t room
    # A power of two.
    size_t count

# Answer a frame that stands: REQUEST_DONE, or REQUEST_HANDOFF when none does.
cdef int32_t answer_standing(connection_t *connection, const uint8_t *frame, size_t size) noexcept nogil

# Whether commits that begin with these bytes are allowed on the connection.
cdef bint commits_stand(connection_t *connection, const uint8_t *who, size_t size) noexcept nogil


cdef class Standing:
    cdef StandingAnswers table
    cdef standing_t *entry


cdef class StandingGroup:
    cdef int64_t *round
    cdef dict members
    # By member: heartbeats, and who may commit.
    cdef dict committers


cdef class StandingAnswers:
    cdef standings_t table
    cdef dict groups
    cdef int64_t rounds
    cdef bint opened
    cdef void insert(self, standing_t *entry) noexcept
    cdef void remove(self, standing_t *entry) noexcept
    cdef int grow(self) except -1
    cdef int put(self, StandingGroup of, dict kept, str member, uint64_t connection, bytes frame, bytes answer,
                 bint silent) except -1
