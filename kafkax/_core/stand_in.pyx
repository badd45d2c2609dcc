"""To wake a thread on another processor takes some ten microseconds, and on a virtual machine twice as many: longer than it takes
to send an answer. So the thread that has flushed, or appended, what a parked request waited for answers that request itself.

``thread.run`` belongs to who works through a network thread's connections: mostly that thread, which holds it but when it waits
for events. Who finds it held leaves: its holder looks at ``signalled`` after it has given it back. Only the thread itself reads
letters, receives, and frees connections, since it may hold events that name them."""

from libc.errno cimport EIO
from libc.stdint cimport int32_t, int64_t
from kafkax._core.atomics cimport kx_add32, kx_count64, kx_fence, kx_load32
from kafkax._core.connection cimport connection_close, connection_work, work_through
from kafkax._core.frame cimport has_input
from kafkax._core.linux cimport monotonic_ms
from kafkax._core.mailbox cimport next_woken, overhear, ring
from kafkax._core.network cimport ANSWER_CLOSES, CLOSE_DISK, CLOSE_PEER, WOKEN, connection_t, network_thread_t, parked_t
from kafkax._core.park cimport next_deadline
from kafkax._core.pthreads cimport pthread_mutex_trylock, pthread_mutex_unlock
from kafkax._core.transfer cimport send_answers

cdef enum:
    MOST_LOOKS = 16
    # Requests that are looked at for another thread at a time; what is more is shared out by waking it.


cdef inline bint all_answered(const connection_t *connection) noexcept nogil:
    """Whether everything has left that is to leave."""
    return connection.first == NULL or connection.first.state == ANSWER_CLOSES


cdef void send_on(connection_t *connection) noexcept nogil:
    cdef int32_t error = send_answers(connection)
    if error:
        connection_close(connection, CLOSE_DISK if error == EIO else CLOSE_PEER)
    elif all_answered(connection) and (
            connection.close_after or (connection.ended and not connection.starved and not has_input(connection))):
        connection_close(connection, connection.close_reason if connection.close_after else CLOSE_PEER)
    elif connection.broken and not connection.readable:
        connection_close(connection, CLOSE_PEER)
    elif has_input(connection):
        connection_work(connection)


cdef bint look_for(network_thread_t *thread) noexcept nogil:
    """Answer what was woken, with ``run`` held; False when the thread itself is needed for more."""
    cdef int64_t deadline = next_deadline(thread)
    cdef parked_t *parked
    cdef int32_t looks = 0
    if thread.stopping or thread.work != NULL or not overhear(thread):
        return False
    thread.now_ms = monotonic_ms()
    parked = next_woken(thread)
    while parked != NULL:
        parked.look(parked, WOKEN)
        looks += 1
        kx_count64(&thread.counters.stood_in, 1)
        parked = next_woken(thread) if looks < MOST_LOOKS else NULL
    work_through(thread, send_on)
    # A thread that sleeps knows the deadline that was the first when it fell asleep.
    return (looks < MOST_LOOKS and thread.work == NULL and thread.graveyard == NULL
            and (next_deadline(thread) < 0 or next_deadline(thread) >= deadline >= 0))


cdef void stand_in(void *sleeper, bint at_leisure) noexcept nogil:
    cdef network_thread_t *thread = <network_thread_t *>sleeper
    cdef bint done = at_leisure
    kx_fence()
    while done and kx_load32(&thread.signalled) and pthread_mutex_trylock(&thread.run) == 0:
        done = look_for(thread)
        pthread_mutex_unlock(&thread.run)
        kx_fence()
    if not done:
        ring(thread)
    kx_add32(&thread.reactor.stand_ins, -1)
