"""One turn of the loop: wait, note which sockets have news, read the mailbox, look at what was woken or is due, then work
through the connections that have something to do. The first thread also accepts and deals connections out.

No turn waits for anything but epoll, so that one connection never stands in the way of another."""

from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, ENOMEM, errno
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset
from posix.unistd cimport close, read
from kafkax._core.addresses cimport address_enter
from kafkax._core.answers cimport answer_fill, answer_find, answer_free, answer_skip
from kafkax._core.atomics cimport kx_add32, kx_count64, kx_fence, kx_load32, kx_load64
from kafkax._core.busy_poll cimport wait_for_events
from kafkax._core.commit_lanes cimport append_commits
from kafkax._core.connection cimport (
    bury,
    connection_close,
    connection_find,
    connection_open,
    connection_touch,
    connection_work,
    feed,
    may_feed,
    work_through,
)
from kafkax._core.deferred cimport keep_deferred, run_deferred
from kafkax._core.frame cimport receive
from kafkax._core.handoff cimport answered
from kafkax._core.linux cimport (
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    EPOLLERR,
    EPOLLET,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    accept4,
    epoll_create1,
    epoll_ctl,
    epoll_event,
    eventfd,
    monotonic_ms,
    pthread_self,
    sockaddr,
    sockaddr_in6,
    socklen_t,
)
from kafkax._core.mailbox cimport post, take_letters, wake_thread
from kafkax._core.network cimport (
    ANSWER_CLOSES,
    ANSWER_PENDING,
    API_PRODUCE,
    CLOSE_ASKED,
    CLOSE_IDLE,
    CLOSE_PER_IP,
    CLOSE_STOPPING,
    LETTER_ANSWER,
    LETTER_CLOSE,
    LETTER_CONNECTION,
    LETTER_END,
    LETTER_FOUND,
    LETTER_FREE,
    LETTER_PAUSE,
    LETTER_TRUST,
    LETTER_WARMED,
    SCRATCH_SIZE,
    answer_t,
    connection_t,
    letter_t,
    listener_t,
    network_thread_t,
    reactor_t,
)
from kafkax._core.park cimport expire_impatient, look_at_expired, look_at_woken, look_up_done, next_deadline
from kafkax._core.pthreads cimport (
    PTHREAD_MUTEX_ADAPTIVE_NP,
    pthread_create,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_t,
    pthread_mutex_unlock,
    pthread_mutexattr_destroy,
    pthread_mutexattr_init,
    pthread_mutexattr_settype,
    pthread_mutexattr_t,
    pthread_setname_np,
)
from kafkax._core.signals cimport block_signals
from kafkax._core.stand_in cimport send_on, stand_in

cdef enum:
    EVENTS = 256
    ACCEPTS = 64
    # Connections accepted from one listener in one turn.

cdef struct accepted_t:
    int32_t fd
    int32_t listener
    sockaddr_in6 address


cdef network_thread_t *least_busy(reactor_t *reactor) noexcept nogil:
    cdef network_thread_t *best = &reactor.threads[0]
    cdef int32_t at
    for at in range(1, reactor.thread_count):
        if kx_load32(&reactor.threads[at].connections) < kx_load32(&best.connections):
            best = &reactor.threads[at]
    return best


cdef void deal(reactor_t *reactor, int32_t fd, int32_t listener, const sockaddr_in6 *address) noexcept nogil:
    """Give an accepted socket to the thread with the fewest."""
    cdef network_thread_t *thread = least_busy(reactor)
    cdef accepted_t *accepted = <accepted_t *>malloc(sizeof(accepted_t))
    kx_add32(&reactor.connections, 1)
    kx_add32(&thread.connections, 1)
    if accepted != NULL:
        accepted.fd = fd
        accepted.listener = listener
        accepted.address = address[0]
        if post(thread, LETTER_CONNECTION, 0, 0, 0, accepted) == 0:
            return
        free(accepted)
    connection_open(thread, fd, listener, address)


cdef void accept_some(network_thread_t *thread, int32_t listener) noexcept nogil:
    cdef reactor_t *reactor = thread.reactor
    cdef listener_t *origin = &reactor.listeners[listener]
    cdef sockaddr_in6 address
    cdef socklen_t size
    cdef int32_t fd, _turn
    for _turn in range(ACCEPTS):
        if origin.fd < 0:
            return
        origin.paused = kx_load32(&reactor.connections) >= kx_load64(&reactor.settings.max_connections)
        if origin.paused:
            return
        size = sizeof(address)
        memset(&address, 0, sizeof(address))
        fd = accept4(origin.fd, <sockaddr *>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd < 0:
            # Out of descriptors: the backlog keeps the peer until a connection ends.
            origin.paused = errno not in (EAGAIN, EINTR, ECONNABORTED)
            return
        if address_enter(reactor, &address):
            deal(reactor, fd, listener, &address)
        else:
            kx_count64(&thread.counters.closed[CLOSE_PER_IP], 1)
            close(fd)
    origin.paused = 1
    wake_thread(thread)


cdef void accept_paused(network_thread_t *thread) noexcept nogil:
    """Go on accepting where it had stopped, if there is room again."""
    cdef int32_t at
    for at in range(thread.reactor.listener_count):
        if thread.reactor.listeners[at].paused:
            accept_some(thread, at)


cdef void note_event(network_thread_t *thread, epoll_event *event) noexcept nogil:
    cdef connection_t *connection
    cdef uint64_t count
    if event.data.u64 == 0:
        read(thread.wakeup, &count, sizeof(count))
        return
    if event.data.u64 & 1:
        accept_some(thread, <int32_t>(event.data.u64 >> 1) - 1)
        return
    connection = <connection_t *>event.data.ptr
    if event.events & <uint32_t>(EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
        connection.readable = 1
    if event.events & <uint32_t>(EPOLLRDHUP | EPOLLHUP):
        connection.hung_up = 1
    if event.events & <uint32_t>EPOLLOUT:
        connection.writable = 1
    if event.events & <uint32_t>(EPOLLERR | EPOLLHUP):
        connection.writable = 1
        connection.broken = 1
    connection_work(connection)


cdef void deliver(network_thread_t *thread, letter_t *letter) noexcept nogil:
    """Put an answer of the control plane into its place; without a body nothing is sent."""
    cdef connection_t *connection = connection_find(thread, letter.connection)
    cdef answer_t *slot = NULL if connection == NULL else answer_find(connection, letter.token)
    cdef answer_t *content = <answer_t *>letter.body
    if slot == NULL or not slot.handed:
        if content != NULL:
            answer_free(content)
        return
    connection.handed -= 1
    if slot.handed == API_PRODUCE + 1:
        connection.handed_produces -= 1
    if content == NULL:
        answer_skip(connection, slot)
    else:
        answer_fill(connection, slot, content)
    connection_work(connection)
    answered(thread.reactor, 1)


cdef void end_before(connection_t *connection, uint64_t token) noexcept nogil:
    """Close a connection when the answers before that of ``token`` have left; nothing more is read of it."""
    cdef answer_t *slot = answer_find(connection, token)
    if slot == NULL:
        connection_close(connection, CLOSE_ASKED)
        return
    slot.state = ANSWER_CLOSES
    connection.close_after = 1
    connection.close_reason = CLOSE_ASKED
    connection_work(connection)


cdef void read_letter(network_thread_t *thread, letter_t *letter) noexcept nogil:
    cdef connection_t *connection
    cdef accepted_t *accepted
    if letter.kind == LETTER_ANSWER:
        deliver(thread, letter)
    elif letter.kind == LETTER_CONNECTION:
        accepted = <accepted_t *>letter.body
        connection_open(thread, accepted.fd, accepted.listener, &accepted.address)
        free(accepted)
    elif letter.kind == LETTER_CLOSE:
        connection = connection_find(thread, letter.connection)
        if connection != NULL:
            connection_close(connection, CLOSE_ASKED)
    elif letter.kind == LETTER_END:
        connection = connection_find(thread, letter.connection)
        if connection != NULL:
            end_before(connection, letter.token)
    elif letter.kind == LETTER_WARMED:
        connection = connection_find(thread, letter.connection)
        if connection != NULL:
            connection.warming = 0
            connection.warmed_to = connection.warming_to
            connection_work(connection)
    elif letter.kind == LETTER_FOUND:
        connection = connection_find(thread, letter.connection)
        if connection != NULL:
            look_up_done(connection, letter.token)
    elif letter.kind == LETTER_FREE:
        connection = connection_find(thread, letter.connection)
        if connection != NULL and <uint64_t>connection.quota_generation == letter.token:
            connection.metered = 0
            connection_work(connection)
    elif letter.kind == LETTER_PAUSE:
        connection = connection_find(thread, letter.connection)
        if connection != NULL:
            connection.paused = letter.value
            connection_work(connection)
    elif letter.kind == LETTER_TRUST:
        connection = connection_find(thread, letter.connection)
        if connection != NULL:
            connection.fast = letter.value
            connection.frame_limit = <int32_t>thread.reactor.settings.request_max_bytes


cdef void read_mailbox(network_thread_t *thread) noexcept nogil:
    cdef letter_t *letter = take_letters(thread)
    cdef letter_t *following
    while letter != NULL:
        following = letter.next
        read_letter(thread, letter)
        free(letter)
        letter = following


cdef void work_on(connection_t *connection) noexcept nogil:
    cdef bint last = connection.work_next == NULL
    receive(connection)
    if not connection.closed:
        send_on(connection)
    run_deferred(last and connection.thread.work == NULL)


cdef void close_idle(network_thread_t *thread) noexcept nogil:
    """Close what was idle too long. Waiting for an answer of ours is not idleness; not reading it is."""
    cdef connection_t *connection
    cdef int64_t limit = thread.reactor.settings.idle_ms
    while limit > 0 and thread.idle_first != NULL:
        connection = thread.idle_first
        if thread.now_ms - connection.active_ms < limit:
            return
        if connection.first != NULL and connection.first.state == ANSWER_PENDING:
            connection_touch(connection)
        else:
            connection_close(connection, CLOSE_IDLE)


cdef int32_t wait_time(network_thread_t *thread) noexcept nogil:
    """Milliseconds that the loop may sleep; -1 for as long as nothing happens."""
    cdef int64_t due = next_deadline(thread)
    cdef int64_t idle
    if thread.work != NULL or may_feed(thread):
        return 0
    if thread.reactor.settings.idle_ms > 0 and thread.idle_first != NULL:
        idle = thread.idle_first.active_ms + thread.reactor.settings.idle_ms
        due = idle if due < 0 else min(due, idle)
    if thread.stopping:
        due = thread.now_ms + 20 if due < 0 else min(due, thread.now_ms + 20)
    if due < 0:
        return -1
    return <int32_t>max(<int64_t>0, min(due - thread.now_ms, <int64_t>3600000))


cdef bint drain(network_thread_t *thread) noexcept nogil:
    """While the broker stops: close what owes nothing. True when the thread may end."""
    cdef connection_t *connection = thread.idle_first
    cdef connection_t *following
    cdef bint late = thread.now_ms >= kx_load64(&thread.reactor.stop_at_ms)
    if not thread.stopping:
        thread.stopping = 1
        expire_impatient(thread)
        connection = thread.idle_first
    while connection != NULL:
        following = connection.idle_next
        if late or connection.first == NULL:
            connection_close(connection, CLOSE_STOPPING)
        else:
            connection.close_after = 1
            connection.close_reason = CLOSE_STOPPING
            connection_work(connection)
        connection = following
    return thread.idle_first == NULL


cdef int32_t wait(network_thread_t *thread, epoll_event *events) noexcept nogil:
    """Wait for events, and give ``run`` back meanwhile; how many there are."""
    cdef int32_t milliseconds = wait_time(thread), count
    pthread_mutex_unlock(&thread.run)
    kx_fence()
    # Whoever found the lock held relies on this look.
    count = wait_for_events(thread, events, EVENTS, 0 if kx_load32(&thread.signalled) else milliseconds)
    pthread_mutex_lock(&thread.run)
    return count


cdef void turn(network_thread_t *thread, epoll_event *events) noexcept nogil:
    cdef int32_t at, count = wait(thread, events)
    thread.now_ms = monotonic_ms()
    for at in range(count):
        note_event(thread, &events[at])
    read_mailbox(thread)
    if may_feed(thread):
        feed(thread)
    look_at_expired(thread)
    work_through(thread, work_on)
    append_commits(thread)
    look_at_woken(thread)
    work_through(thread, work_on)
    append_commits(thread)
    run_deferred(thread.work == NULL)
    close_idle(thread)
    if thread.number == 0 and not thread.stopping:
        accept_paused(thread)
    bury(thread)


cdef void *run(void *argument) noexcept nogil:
    cdef network_thread_t *thread = <network_thread_t *>argument
    cdef epoll_event events[EVENTS]
    pthread_mutex_lock(&thread.lock)
    thread.thread = pthread_self()
    thread.running = 1
    pthread_mutex_unlock(&thread.lock)
    block_signals()
    keep_deferred()
    pthread_mutex_lock(&thread.run)
    thread.now_ms = monotonic_ms()
    while True:
        turn(thread, events)
        if kx_load32(&thread.reactor.stopping) and drain(thread):
            break
    read_mailbox(thread)
    drain(thread)
    bury(thread)
    run_deferred(False)
    pthread_mutex_unlock(&thread.run)
    return NULL


cdef void init_run_lock(pthread_mutex_t *lock) noexcept nogil:
    """Who stands in holds it for no longer than it takes to fall asleep and be woken."""
    cdef pthread_mutexattr_t attributes
    pthread_mutexattr_init(&attributes)
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP)
    pthread_mutex_init(lock, &attributes)
    pthread_mutexattr_destroy(&attributes)


cdef int32_t thread_init(reactor_t *reactor, int32_t number) noexcept nogil:
    cdef network_thread_t *thread = &reactor.threads[number]
    cdef epoll_event event
    memset(thread, 0, sizeof(network_thread_t))
    thread.reactor = reactor
    thread.number = number
    thread.free_slot = -1
    init_run_lock(&thread.run)
    thread.stand_in = stand_in
    pthread_mutex_init(&thread.lock, NULL)
    thread.epoll = epoll_create1(EPOLL_CLOEXEC)
    thread.wakeup = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    if thread.epoll < 0 or thread.wakeup < 0:
        return errno
    thread.scratch = <unsigned char *>malloc(SCRATCH_SIZE)
    if thread.scratch == NULL:
        return ENOMEM
    memset(&event, 0, sizeof(event))
    event.events = <uint32_t>EPOLLIN
    return errno if epoll_ctl(thread.epoll, EPOLL_CTL_ADD, thread.wakeup, &event) else 0


cdef int32_t thread_start(network_thread_t *thread) noexcept nogil:
    cdef int32_t error
    error = pthread_create(&thread.joinable, NULL, run, thread)
    if not error:
        pthread_setname_np(thread.joinable, "kafkax-network")
    return error


cdef void drop_letters(network_thread_t *thread) noexcept nogil:
    """Free what nobody will read any more."""
    cdef letter_t *letter = take_letters(thread)
    cdef letter_t *following
    while letter != NULL:
        following = letter.next
        if letter.kind == LETTER_ANSWER and letter.body != NULL:
            answer_free(<answer_t *>letter.body)
        elif letter.kind == LETTER_CONNECTION:
            close((<accepted_t *>letter.body).fd)
            free(letter.body)
        free(letter)
        letter = following


cdef void thread_free(network_thread_t *thread) noexcept nogil:
    drop_letters(thread)
    if thread.epoll >= 0:
        close(thread.epoll)
    if thread.wakeup >= 0:
        close(thread.wakeup)
    pthread_mutex_destroy(&thread.run)
    pthread_mutex_destroy(&thread.lock)
    free(thread.scratch)
    free(thread.slots)
    free(thread.generations)
    free(thread.free_next)
    free(thread.heap)


cdef int32_t watch_listener(reactor_t *reactor, int32_t listener) noexcept nogil:
    cdef epoll_event event
    memset(&event, 0, sizeof(event))
    event.events = <uint32_t>(EPOLLIN | EPOLLET)
    event.data.u64 = (<uint64_t>(listener + 1) << 1) | 1
    return errno if epoll_ctl(reactor.threads[0].epoll, EPOLL_CTL_ADD, reactor.listeners[listener].fd, &event) else 0
