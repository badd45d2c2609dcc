"""To be woken takes longer than to answer: ten microseconds and more, and on a virtual machine whose kernel halts an idle
processor at once twice as many. So a thread whose last waits were short looks for the next event before it sleeps.

That is worth a processor that has nothing else to do, and only then. A thread earns credit by waits that are short, and loses far
more by each look that was in vain, or that something else interrupted; and it looks only while fewer network threads are at work
than there are processors, so that under full load all of them sleep when they can."""

from libc.stdint cimport int32_t, int64_t
from kafkax._core.atomics cimport kx_count64, kx_load64, kx_store64
from kafkax._core.linux cimport epoll_event, epoll_wait, monotonic_ns
from kafkax._core.network cimport network_thread_t, reactor_t

cdef enum:
    # A thread that had an event so lately is at work.
    AT_WORK_NS = 2000000
    # Between two looks, each a fraction of a microsecond, the thread has lost its processor for a while.
    INTERRUPTED_NS = 20000
    # Short waits before the first look, and at most so many to live on; what a look in vain costs.
    ENOUGH = 16
    MOST = 64
    FINE = 32


cdef bint processor_to_spare(const network_thread_t *thread, int64_t now) noexcept nogil:
    """Whether fewer network threads are at work than there are processors, one of which is the client's, or whoever's."""
    cdef const reactor_t *reactor = thread.reactor
    cdef int32_t at, working = 1
    for at in range(reactor.thread_count):
        if at != thread.number and now - kx_load64(&reactor.threads[at].worked_ns) < AT_WORK_NS:
            working += 1
    return working < reactor.processors


cdef int32_t look(network_thread_t *thread, epoll_event *events, int32_t room, int64_t begun) noexcept nogil:
    cdef int64_t now = begun, before
    cdef int64_t patience = thread.reactor.settings.busy_poll_ns
    cdef int32_t count = 0
    kx_count64(&thread.counters.looks, 1)
    while count == 0 and now - begun < patience:
        count = epoll_wait(thread.epoll, events, room, 0)
        before = now
        now = monotonic_ns()
        if now - before > INTERRUPTED_NS:
            break
    if count > 0 and now - before <= INTERRUPTED_NS:
        thread.credit = min(thread.credit + 1, <int32_t>MOST)
    else:
        thread.credit -= FINE
        kx_count64(&thread.counters.looks_in_vain, 1)
    return count


cdef int32_t wait_for_events(network_thread_t *thread, epoll_event *events, int32_t room, int32_t milliseconds) noexcept nogil:
    cdef int64_t patience = thread.reactor.settings.busy_poll_ns
    cdef int64_t begun, now
    cdef int32_t count = 0
    if milliseconds == 0 or patience == 0:
        return epoll_wait(thread.epoll, events, room, milliseconds)
    begun = monotonic_ns()
    if thread.credit >= ENOUGH and processor_to_spare(thread, begun):
        count = look(thread, events, room, begun)
    if count != 0:
        kx_store64(&thread.worked_ns, begun)
        return count
    count = epoll_wait(thread.epoll, events, room, milliseconds)
    now = monotonic_ns()
    kx_store64(&thread.worked_ns, now)
    if now - begun < patience:
        thread.credit = min(thread.credit + 1, <int32_t>MOST)
    else:
        thread.credit = min(thread.credit, 0)
    return count
