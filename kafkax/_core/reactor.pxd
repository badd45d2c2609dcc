"""Python's face of the network threads."""

from kafkax._core.commit_lanes cimport CommitLanes
from kafkax._core.leaders cimport Leaders
from kafkax._core.network cimport handed_t, reactor_t


cdef class Reactor:
    cdef reactor_t *reactor
    cdef list _listeners
    cdef object _registry
    cdef bint _started
    cdef object _soon
    cdef object _standing
    cdef CommitLanes _lanes
    cdef Leaders _leaders
    cdef bint _left
    cdef int check_token(self, unsigned long long connection) except -1


cdef class HandedRequest:
    cdef readonly unsigned long long connection
    cdef readonly unsigned long long token
    cdef readonly str listener
    cdef readonly bytes frame
    cdef bytes _address

    @staticmethod
    cdef HandedRequest of(handed_t *handed, list listeners)


cdef class NewConnection:
    cdef readonly unsigned long long connection
    cdef readonly str listener
    cdef bytes _address

    @staticmethod
    cdef NewConnection of(handed_t *handed, list listeners)


cdef class ClosedConnection:
    cdef readonly unsigned long long connection
    cdef readonly str listener
    cdef readonly str reason
    cdef bytes _address

    @staticmethod
    cdef ClosedConnection of(handed_t *handed, list listeners)
