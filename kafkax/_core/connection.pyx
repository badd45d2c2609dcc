"""An id names thread, slot and generation, so that a late answer never reaches the next connection in the same slot.

An idle connection is this struct alone: received bytes pass through the thread's scratch buffer, and buffers for
incomplete frames and answers exist only while there is something in them."""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset
from posix.unistd cimport close
from kafkax._core.addresses cimport address_leave
from kafkax._core.answers cimport answer_pop
from kafkax._core.atomics cimport kx_add32, kx_add64, kx_count64, kx_load32, kx_load64
from kafkax._core.handoff cimport answered, charge_kept, has_room, tell_closed, tell_opened
from kafkax._core.linux cimport (
    EPOLLET,
    EPOLLIN,
    EPOLLOUT,
    EPOLLRDHUP,
    EPOLL_CTL_ADD,
    IPPROTO_TCP,
    SOL_SOCKET,
    SO_RCVBUF,
    SO_SNDBUF,
    TCP_NODELAY,
    epoll_ctl,
    epoll_event,
    setsockopt,
    sockaddr_in6,
)
from kafkax._core.mailbox cimport wake_thread
from kafkax._core.network cimport (
    CLOSE_MEMORY,
    STARVED_LANE,
    STARVED_MEMORY,
    STARVED_QUEUE,
    connection_t,
    listener_t,
    network_thread_t,
    reactor_t,
    settings_t,
)
from kafkax._core.pacing cimport pace_peer
from kafkax._core.park cimport drop_parked


cdef int32_t take_slot(network_thread_t *thread) noexcept nogil:
    """A free place in the thread's table, which doubles when full; -1 without memory."""
    cdef int32_t count = thread.slot_count, at
    cdef connection_t **slots
    cdef uint32_t *generations
    cdef int32_t *free_next
    if thread.free_slot < 0:
        count = 64 if count == 0 else count * 2
        slots = <connection_t **>realloc(thread.slots, count * sizeof(connection_t *))
        if slots != NULL:
            thread.slots = slots
        generations = <uint32_t *>realloc(thread.generations, count * sizeof(uint32_t))
        if generations != NULL:
            thread.generations = generations
        free_next = <int32_t *>realloc(thread.free_next, count * sizeof(int32_t))
        if free_next != NULL:
            thread.free_next = free_next
        if slots == NULL or generations == NULL or free_next == NULL:
            return -1
        for at in range(thread.slot_count, count):
            thread.slots[at] = NULL
            thread.generations[at] = 1
            thread.free_next[at] = at + 1 if at + 1 < count else -1
        thread.free_slot = thread.slot_count
        thread.slot_count = count
    at = thread.free_slot
    thread.free_slot = thread.free_next[at]
    return at


cdef void forget_socket(network_thread_t *thread, int32_t fd, const sockaddr_in6 *address) noexcept nogil:
    """Close the socket and take it out of the counts that admit new ones."""
    close(fd)
    address_leave(thread.reactor, address)
    kx_add32(&thread.connections, -1)
    kx_add32(&thread.reactor.connections, -1)
    wake_thread(&thread.reactor.threads[0])


cdef void set_options(const settings_t *settings, const listener_t *origin, int32_t fd, const sockaddr_in6 *peer) noexcept nogil:
    cdef int32_t one = 1
    pace_peer(fd, peer, origin.congestion)
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    if settings.send_buffer > 0:
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &settings.send_buffer, sizeof(settings.send_buffer))
    if settings.receive_buffer > 0:
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &settings.receive_buffer, sizeof(settings.receive_buffer))


cdef void connection_open(network_thread_t *thread, int32_t fd, int32_t listener, const sockaddr_in6 *address) noexcept nogil:
    cdef reactor_t *reactor = thread.reactor
    cdef listener_t *origin = &reactor.listeners[listener]
    cdef epoll_event event
    cdef int32_t slot = take_slot(thread)
    cdef connection_t *connection = NULL if slot < 0 else <connection_t *>calloc(1, sizeof(connection_t))
    if connection == NULL:
        if slot >= 0:
            thread.free_next[slot] = thread.free_slot
            thread.free_slot = slot
        forget_socket(thread, fd, address)
        return
    set_options(&reactor.settings, origin, fd, address)
    connection.id = (<uint64_t>thread.generations[slot] << 32) | (<uint64_t>thread.number << 24) | <uint64_t>slot
    connection.fd = fd
    connection.listener = listener
    connection.thread = thread
    connection.address = address[0]
    connection.readable = 1
    connection.writable = 1
    connection.fast = origin.fast and origin.trusted
    connection.frame_limit = <int32_t>(reactor.settings.request_max_bytes if origin.trusted
                                       else reactor.settings.unauthenticated_max_bytes)
    thread.slots[slot] = connection
    kx_count64(&thread.counters.accepted, 1)
    link_idle(connection)
    memset(&event, 0, sizeof(event))
    event.events = <uint32_t>(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
    event.data.ptr = connection
    if epoll_ctl(thread.epoll, EPOLL_CTL_ADD, fd, &event) != 0:
        connection_close(connection, CLOSE_MEMORY)
        return
    if kx_load32(&reactor.screening):
        connection.paused = 1
        if tell_opened(connection) != 0:
            connection_close(connection, CLOSE_MEMORY)
            return
    connection_work(connection)


cdef connection_t *connection_find(network_thread_t *thread, uint64_t id) noexcept nogil:
    cdef int32_t slot = <int32_t>(id & 0xFFFFFF)
    if slot >= thread.slot_count or thread.slots[slot] == NULL or thread.slots[slot].id != id:
        return NULL
    return thread.slots[slot]


cdef void link_idle(connection_t *connection) noexcept nogil:
    cdef network_thread_t *thread = connection.thread
    connection.active_ms = thread.now_ms
    connection.idle_next = NULL
    connection.idle_previous = thread.idle_last
    if thread.idle_last != NULL:
        thread.idle_last.idle_next = connection
    else:
        thread.idle_first = connection
    thread.idle_last = connection


cdef void unlink_idle(connection_t *connection) noexcept nogil:
    cdef network_thread_t *thread = connection.thread
    if connection.idle_previous != NULL:
        connection.idle_previous.idle_next = connection.idle_next
    else:
        thread.idle_first = connection.idle_next
    if connection.idle_next != NULL:
        connection.idle_next.idle_previous = connection.idle_previous
    else:
        thread.idle_last = connection.idle_previous


cdef void connection_touch(connection_t *connection) noexcept nogil:
    connection.progress = 0
    if connection.active_ms != connection.thread.now_ms:
        unlink_idle(connection)
        link_idle(connection)


cdef void connection_work(connection_t *connection) noexcept nogil:
    if not connection.in_work and not connection.closed:
        connection.in_work = 1
        connection.work_next = connection.thread.work
        connection.thread.work = connection


cdef void work_through(network_thread_t *thread, void (*each)(connection_t *connection) noexcept nogil) noexcept nogil:
    cdef connection_t *connection = thread.work
    cdef connection_t *following
    thread.work = NULL
    while connection != NULL:
        following = connection.work_next
        connection.in_work = 0
        if not connection.closed:
            each(connection)
        connection = following


cdef void connection_starve(connection_t *connection, int32_t starved) noexcept nogil:
    cdef network_thread_t *thread = connection.thread
    if connection.starved:
        return
    connection.starved = starved
    thread.starved_count[starved] += 1
    connection.starved_next = thread.starved
    thread.starved = connection
    kx_add64(&thread.reactor.starved, 1)


cdef void unstarve(connection_t **link) noexcept nogil:
    """Take the connection that ``link`` leads to out of the starved ones."""
    cdef connection_t *connection = link[0]
    link[0] = connection.starved_next
    connection.thread.starved_count[connection.starved] -= 1
    connection.starved = 0
    kx_add64(&connection.thread.reactor.starved, -1)


cdef inline bint lanes_moved(network_thread_t *thread) noexcept nogil:
    return thread.lanes_seen != kx_load64(&thread.reactor.lanes_moved)


cdef bint may_feed(network_thread_t *thread) noexcept nogil:
    return ((thread.starved_count[STARVED_LANE] and lanes_moved(thread))
            or (thread.starved_count[STARVED_QUEUE] and has_room(thread.reactor, STARVED_QUEUE))
            or (thread.starved_count[STARVED_MEMORY] and has_room(thread.reactor, STARVED_MEMORY)))


cdef void feed(network_thread_t *thread) noexcept nogil:
    cdef connection_t **link = &thread.starved
    cdef connection_t *connection
    cdef bint moved = lanes_moved(thread)
    thread.lanes_seen = kx_load64(&thread.reactor.lanes_moved)
    while link[0] != NULL:
        connection = link[0]
        if moved if connection.starved == STARVED_LANE else has_room(thread.reactor, connection.starved):
            unstarve(link)
            connection_work(connection)
        else:
            link = &connection.starved_next


cdef void forget_starved(connection_t *connection) noexcept nogil:
    cdef connection_t **link = &connection.thread.starved
    while connection.starved and link[0] != connection:
        link = &link[0].starved_next
    if connection.starved:
        unstarve(link)


cdef void connection_close(connection_t *connection, int32_t reason) noexcept nogil:
    cdef network_thread_t *thread = connection.thread
    cdef reactor_t *reactor = thread.reactor
    cdef int32_t slot = <int32_t>(connection.id & 0xFFFFFF)
    if connection.closed:
        return
    connection.closed = 1
    drop_parked(connection)
    while connection.first != NULL:
        answer_pop(connection)
    tell_closed(connection, reason)
    kx_count64(&thread.counters.closed[reason], 1)
    thread.slots[slot] = NULL
    thread.generations[slot] += 1
    thread.free_next[slot] = thread.free_slot
    thread.free_slot = slot
    unlink_idle(connection)
    forget_starved(connection)
    if connection.handed:
        answered(reactor, connection.handed)
    if connection.frame_room:
        charge_kept(reactor, -<long>connection.frame_room)
    forget_socket(thread, connection.fd, &connection.address)
    connection.starved_next = thread.graveyard
    thread.graveyard = connection


cdef void bury(network_thread_t *thread) noexcept nogil:
    cdef connection_t *connection = thread.graveyard
    cdef connection_t *next_one
    cdef connection_t *kept = NULL
    while connection != NULL:
        next_one = connection.starved_next
        if connection.in_work:
            connection.starved_next = kept
            kept = connection
        else:
            free(connection.frame)
            free(connection)
        connection = next_one
    thread.graveyard = kept
