"""Which signals the core's threads take."""

from posix.signal cimport sigfillset, sigset_t

cdef extern from "<signal.h>" nogil:
    enum:
        SIG_SETMASK
        SIGBUS
    int sigdelset(sigset_t *set, int signal) noexcept
    int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) noexcept


cdef void block_signals() noexcept nogil:
    cdef sigset_t signals
    sigfillset(&signals)
    # Blocked, it would end the process.
    sigdelset(&signals, SIGBUS)
    pthread_sigmask(SIG_SETMASK, &signals, NULL)
