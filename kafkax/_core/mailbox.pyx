"""A thread is signalled once for everything that waits, and not at all by itself: it empties its mailbox before it sleeps."""

from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport malloc
from posix.unistd cimport write
from kafkax._core.atomics cimport kx_add32, kx_store32
from kafkax._core.codes cimport CORE_NO_MEMORY
from kafkax._core.deferred cimport defer
from kafkax._core.linux cimport pthread_equal, pthread_self
from kafkax._core.network cimport letter_t, network_thread_t, parked_t
from kafkax._core.pthreads cimport pthread_mutex_lock, pthread_mutex_unlock


cdef bint claim_signal(network_thread_t *thread) noexcept nogil:
    """Whether the caller, who holds the lock, has to write to the eventfd."""
    if thread.signalled:
        return False
    kx_store32(&thread.signalled, 1)  # read without the lock before a thread sleeps
    return not (thread.running and pthread_equal(thread.thread, pthread_self()))


cdef void ring(network_thread_t *thread) noexcept nogil:
    cdef uint64_t one = 1
    write(thread.wakeup, &one, sizeof(one))


cdef void wake_thread(network_thread_t *thread) noexcept nogil:
    cdef bint signal
    pthread_mutex_lock(&thread.lock)
    signal = claim_signal(thread)
    pthread_mutex_unlock(&thread.lock)
    if signal:
        ring(thread)


cdef int32_t post(network_thread_t *thread, int32_t kind, uint64_t connection, uint64_t token, int32_t value,
                  void *body) noexcept nogil:
    return leave(thread, kind, connection, token, value, body, True)


cdef int32_t leave(network_thread_t *thread, int32_t kind, uint64_t connection, uint64_t token, int32_t value, void *body,
                   bint now) noexcept nogil:
    cdef letter_t *letter = <letter_t *>malloc(sizeof(letter_t))
    cdef bint signal
    if letter == NULL:
        return CORE_NO_MEMORY
    letter.next = NULL
    letter.kind = kind
    letter.connection = connection
    letter.token = token
    letter.value = value
    letter.body = body
    pthread_mutex_lock(&thread.lock)
    if thread.letters == NULL:
        thread.letters = letter
    else:
        thread.letters_last.next = letter
    thread.letters_last = letter
    signal = now and claim_signal(thread)
    pthread_mutex_unlock(&thread.lock)
    if signal:
        ring(thread)
    return 0


cdef void announce(network_thread_t *thread) noexcept nogil:
    cdef bint signal
    pthread_mutex_lock(&thread.lock)
    signal = thread.letters != NULL and claim_signal(thread)
    pthread_mutex_unlock(&thread.lock)
    if signal:
        ring(thread)


cdef letter_t *take_letters(network_thread_t *thread) noexcept nogil:
    cdef letter_t *letters
    pthread_mutex_lock(&thread.lock)
    letters = thread.letters
    thread.letters = NULL
    thread.letters_last = NULL
    kx_store32(&thread.signalled, 0)
    pthread_mutex_unlock(&thread.lock)
    return letters


cdef void wake_parked(parked_t *parked) noexcept nogil:
    cdef void *thread = note_woken(parked)
    if thread != NULL:
        ring_thread(thread)


cdef void ring_thread(void *noted) noexcept nogil:
    cdef network_thread_t *thread = <network_thread_t *>noted
    kx_add32(&thread.reactor.stand_ins, 1)
    if not defer(thread.stand_in, thread):
        ring(thread)
        kx_add32(&thread.reactor.stand_ins, -1)


cdef bint overhear(network_thread_t *thread) noexcept nogil:
    cdef bint alone
    pthread_mutex_lock(&thread.lock)
    alone = thread.letters == NULL
    if alone:
        kx_store32(&thread.signalled, 0)
    pthread_mutex_unlock(&thread.lock)
    return alone


cdef void *note_woken(parked_t *parked) noexcept nogil:
    cdef network_thread_t *thread = parked.thread
    cdef bint signal = False
    pthread_mutex_lock(&thread.lock)
    if not parked.woken:
        parked.woken = 1
        parked.woken_previous = NULL
        parked.woken_next = thread.woken
        if thread.woken != NULL:
            thread.woken.woken_previous = parked
        thread.woken = parked
        signal = claim_signal(thread)
    pthread_mutex_unlock(&thread.lock)
    return thread if signal else NULL


cdef void unlink(network_thread_t *thread, parked_t *parked) noexcept nogil:
    if parked.woken_previous != NULL:
        parked.woken_previous.woken_next = parked.woken_next
    else:
        thread.woken = parked.woken_next
    if parked.woken_next != NULL:
        parked.woken_next.woken_previous = parked.woken_previous
    parked.woken = 0


cdef void forget_woken(parked_t *parked) noexcept nogil:
    pthread_mutex_lock(&parked.thread.lock)
    if parked.woken:
        unlink(parked.thread, parked)
    pthread_mutex_unlock(&parked.thread.lock)


cdef parked_t *next_woken(network_thread_t *thread) noexcept nogil:
    cdef parked_t *parked
    pthread_mutex_lock(&thread.lock)
    parked = thread.woken
    if parked != NULL:
        unlink(thread, parked)
    pthread_mutex_unlock(&thread.lock)
    return parked
