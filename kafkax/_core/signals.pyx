"""Which signals the core's threads take."""

from posix.signal cimport sigfillset, sigset_t

cdef extern from "<signal.h>" nogil:
    enum:
        SIG_SETMASK
    int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) noexcept


cdef void block_signals() noexcept nogil:
    cdef sigset_t signals
    sigfillset(&signals)
    pthread_sigmask(SIG_SETMASK, &signals, NULL)
