"""A load generator for any broker that speaks Kafka's protocol: one thread without the GIL over many connections.

Requests are prebuilt (``Target``); each connection keeps some of them in flight.  Either every answer makes room for the next
request (closed loop), or requests are due at a fixed rate: then latency counts from the moment a request was due, whether or
not a slow broker let it leave then, so that its pauses show in full (no coordinated omission).
"""

from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport strerror
from posix.unistd cimport close, read

from kafkax._core.atomics cimport kx_load64, kx_store64
from kafkax._core.histogram cimport Histogram, histogram_record
from kafkax._core.linux cimport (
    CLOCK_MONOTONIC, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, epoll_create1, epoll_ctl, epoll_event,
    epoll_wait, monotonic_ns, timespec,
)
from kafkax._core.load_answers cimport answer_t
from kafkax._core.load_connection cimport (
    LOAD_CLOSED, LOAD_MALFORMED, LOAD_NO_MEMORY, LOAD_OUT_OF_ORDER, LOAD_SILENT, LOAD_SYSTEM, Target, connection_fill,
    connection_flush, connection_free, connection_free_slots, connection_init, connection_receive, connection_t, slot_t,
    target_t,
)

from kafkax.errors import ProtocolError

cdef extern from "<sys/timerfd.h>" nogil:
    cdef struct itimerspec:
        timespec it_interval
        timespec it_value
    int timerfd_create(int clock, int flags) noexcept
    int timerfd_settime(int timer, int flags, const itimerspec* new, itimerspec* old) noexcept
    int TFD_NONBLOCK
    int TFD_CLOEXEC
    int TFD_TIMER_ABSTIME

cdef enum:
    SECOND = 1000000000
    EVENTS = 64
    # How long a wait may last before the limits and the stop flag are looked at again.
    TICK_MS = 50


cdef inline void bump(int64_t* counter, int64_t by) noexcept nogil:
    """Add to a counter that this thread alone writes and others read."""
    kx_store64(counter, counter[0] + by)


cdef void note_slow(load_t* load, const slot_t* slot) noexcept nogil:
    """Keep when a slow request was due and how long it took; the first ones only, once there are many."""
    if load.slow_count < SLOW_NOTED:
        load.slow[load.slow_count].due = slot.due
        load.slow[load.slow_count].latency = load.now - slot.due
        load.slow_count += 1


cdef void on_done(void* owner, connection_t* connection, slot_t* slot, const answer_t* answer) noexcept nogil:
    """Count one answered request (with acks=0: one that is wholly sent)."""
    cdef load_t* load = <load_t*>owner
    load.now = monotonic_ns()
    load.last_heard = load.ended = load.now
    histogram_record(load.latency, load.now - slot.due)
    if load.slow_from > 0 and load.now - slot.due >= load.slow_from:
        note_slow(load, slot)
    bump(&load.requests, 1)
    if answer.error != 0:
        load.errors[<uint32_t>(answer.error + 1) % ERROR_CODES] += 1
        bump(&load.failed, 1)
        return
    if slot.target.offset_at >= 0:
        bump(&load.records, answer.records)
        bump(&load.bytes, answer.size)
    else:
        bump(&load.records, slot.target.records)
        bump(&load.bytes, <int64_t>(slot.target.head_size + slot.target.tail_size))


cdef bint may_issue(load_t* load) noexcept nogil:
    """Whether the limits leave room for one more request; once they do not, they never will again."""
    if not load.issuing:
        return False
    if (load.max_requests > 0 and load.issued >= load.max_requests) \
            or (load.max_records > 0 and load.records >= load.max_records) \
            or (load.duration > 0 and load.now - load.started >= load.duration):
        load.issuing = False
    return load.issuing


cdef int watch(load_t* load, int index, bint writable) noexcept nogil:
    """Ask epoll to wake for this connection when it can be read, and when it can be written if so asked."""
    cdef epoll_event event
    event.events = <uint32_t>(EPOLLIN | EPOLLOUT if writable else EPOLLIN)
    event.data.u64 = <uint64_t>index
    return 0 if epoll_ctl(load.epoll, EPOLL_CTL_MOD, load.connections[index].fd, &event) == 0 else LOAD_SYSTEM


cdef int flush(load_t* load, int index) noexcept nogil:
    cdef connection_t* connection = &load.connections[index]
    cdef bint wanted = connection.writable_wanted
    cdef int code = connection_flush(connection, on_done, load)
    # A connection whose requests have no answers is filled again whenever it can be written, as nothing else wakes for it.
    cdef bint wants = connection.blocked or (load.interval == 0 and load.issuing and connection_free_slots(connection) > 0)
    if code == 0 and wants != wanted:
        connection.writable_wanted = wants
        code = watch(load, index, wants)
    if code < 0:
        load.failed_connection = index
    return code


cdef int refill(load_t* load, int index) noexcept nogil:
    """Closed loop: use every free slot of a connection."""
    cdef connection_t* connection = &load.connections[index]
    load.now = monotonic_ns()
    while connection_free_slots(connection) > 0 and may_issue(load):
        connection_fill(connection, load.now)
        load.issued += 1
    return flush(load, index)


cdef int arm(load_t* load, int64_t due) noexcept nogil:
    cdef itimerspec when
    when.it_interval.tv_sec, when.it_interval.tv_nsec = 0, 0
    when.it_value.tv_sec, when.it_value.tv_nsec = due // SECOND, due % SECOND
    return 0 if timerfd_settime(load.timer, TFD_TIMER_ABSTIME, &when, NULL) == 0 else LOAD_SYSTEM


cdef int free_connection(load_t* load) noexcept nogil:
    """The next connection in turn with a free slot, -1 if all are busy."""
    cdef int index = load.next_connection
    for _ in range(load.connection_count):
        if connection_free_slots(&load.connections[index]) > 0:
            load.next_connection = index + 1 if index + 1 < load.connection_count else 0
            return index
        index = index + 1 if index + 1 < load.connection_count else 0
    return -1


cdef int issue_due(load_t* load) noexcept nogil:
    """Fixed rate: hand out what is due by now; what finds no free slot stays due and is late from then on."""
    cdef int64_t due
    cdef int index
    cdef int code = 0
    while may_issue(load):
        due = load.started + <int64_t>(load.issued * load.interval)
        if due > load.now:
            code = arm(load, due)
            break
        index = free_connection(load)
        if index < 0:
            break
        connection_fill(&load.connections[index], due)
        load.issued += 1
    for index in range(load.connection_count):
        if code == 0 and load.connections[index].written < load.connections[index].filled \
                and not load.connections[index].blocked:
            code = flush(load, index)
    return code


cdef bint outstanding(const load_t* load) noexcept nogil:
    cdef int index
    for index in range(load.connection_count):
        if load.connections[index].answered < load.connections[index].filled:
            return True
    return False


cdef int serve(load_t* load, const epoll_event* event) noexcept nogil:
    """One event: take the answers, send what they make room for."""
    cdef int index = <int>event.data.u64
    cdef int code = 0
    cdef uint64_t ticks
    if index == load.connection_count:
        # The count of expiries does not matter: what is due is worked out from the clock.
        read(load.timer, &ticks, sizeof(ticks))
        return 0
    if event.events & <uint32_t>~EPOLLOUT:
        code = connection_receive(&load.connections[index], on_done, load)
    if code < 0:
        load.failed_connection = index
        return code
    return refill(load, index) if load.interval == 0 else flush(load, index)


cdef int loop(load_t* load) noexcept nogil:
    """Drive all connections until the limits are reached and everything in flight is answered."""
    cdef epoll_event[EVENTS] events
    cdef int count, index
    cdef int code = 0
    cdef bint waiting
    for index in range(load.connection_count):
        if code == 0 and load.interval == 0:
            code = refill(load, index)
    while code == 0:
        load.now = monotonic_ns()
        if load.interval > 0:
            code = issue_due(load)
        waiting = outstanding(load)
        if not waiting:
            load.last_heard = load.now
        if code < 0 or kx_load64(&load.stop) or not (waiting or may_issue(load)):
            break
        count = epoll_wait(load.epoll, events, EVENTS, TICK_MS)
        if count < 0 and errno != EINTR:
            return LOAD_SYSTEM
        for index in range(count):
            if code == 0:
                code = serve(load, &events[index])
        if waiting and monotonic_ns() - load.last_heard > load.silence:
            return LOAD_SILENT
    return code


cdef int prepare(load_t* load) noexcept nogil:
    """Make the epoll and the timer and watch every connection; the timer's index is one past the last connection's."""
    cdef epoll_event event
    cdef int index
    load.epoll = epoll_create1(EPOLL_CLOEXEC)
    load.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
    if load.epoll < 0 or load.timer < 0:
        return LOAD_SYSTEM
    for index in range(load.connection_count + 1):
        event.events = <uint32_t>EPOLLIN
        event.data.u64 = <uint64_t>index
        if epoll_ctl(load.epoll, EPOLL_CTL_ADD,
                     load.connections[index].fd if index < load.connection_count else load.timer, &event) < 0:
            return LOAD_SYSTEM
    return 0


cdef class Load:
    def __cinit__(self):
        self.data.epoll = self.data.timer = -1

    def __init__(self, connections not None, *, int in_flight=1, int64_t max_requests=0, int64_t max_records=0,
                 double duration=0.0, double rate=0.0, double silence=30.0, double slow=0.0):
        cdef Target target
        cdef int index, first
        if self.connections is not None:
            raise RuntimeError("a Load is set up once")
        if not connections or in_flight < 1 or any(not targets for _, targets in connections):
            raise ValueError("a load needs connections, a target for each and at least one request in flight")
        if max_requests <= 0 and max_records <= 0 and duration <= 0:
            raise ValueError("a load needs an end: max_requests, max_records or duration")
        self.connections = [(sock, list(targets)) for sock, targets in connections]
        self.latency = Histogram()
        self.data.latency = self.latency.data
        self.data.max_requests, self.data.max_records = max_requests, max_records
        self.data.duration, self.data.silence = <int64_t>(duration * SECOND), <int64_t>(silence * SECOND)
        self.data.slow_from = <int64_t>(slow * SECOND)
        self.data.interval = <double>SECOND / rate if rate > 0 else 0.0
        self.targets = <target_t*>calloc(sum(len(targets) for _, targets in self.connections), sizeof(target_t))
        self.data.connections = <connection_t*>calloc(len(self.connections), sizeof(connection_t))
        if self.targets == NULL or self.data.connections == NULL:
            raise MemoryError()
        first = 0
        for sock, targets in self.connections:
            for index, target in enumerate(targets):
                self.targets[first + index] = target.data
            sock.setblocking(False)
            self.data.connection_count += 1
            if connection_init(&self.data.connections[self.data.connection_count - 1], sock.fileno(), in_flight,
                               self.targets + first, len(targets)) < 0:
                raise MemoryError()
            first += len(targets)
        if prepare(&self.data) < 0:
            raise OSError(errno, (<bytes>strerror(errno)).decode())

    def __dealloc__(self):
        cdef int index
        for index in range(self.data.connection_count):
            connection_free(&self.data.connections[index])
        free(self.data.connections)
        free(self.targets)
        if self.data.epoll >= 0:
            close(self.data.epoll)
        if self.data.timer >= 0:
            close(self.data.timer)

    def run(self):
        cdef int code
        if self.data.started:
            raise RuntimeError("a Load runs once")
        with nogil:
            self.data.now = self.data.started = self.data.ended = self.data.last_heard = monotonic_ns()
            self.data.issuing = True
            code = loop(&self.data)
            self.data.issuing = False
        if code < 0:
            self.fail(code)

    cdef fail(self, int code):
        cdef int error = errno
        sock = self.connections[self.data.failed_connection][0]
        try:
            peer = "%s:%d" % sock.getpeername()[:2]
        except OSError:
            peer = f"connection {self.data.failed_connection}"
        after = f"after {self.data.requests} answered requests"
        if code == LOAD_CLOSED:
            raise ConnectionError(f"{peer} closed the connection {after}")
        if code == LOAD_MALFORMED:
            raise ProtocolError(f"{peer} sent an answer that does not parse, {after}")
        if code == LOAD_OUT_OF_ORDER:
            raise ProtocolError(f"{peer} answered something other than the oldest request, {after}")
        if code == LOAD_SILENT:
            raise TimeoutError(f"no answer for {self.data.silence / <double>SECOND:g} s, {after}")
        if code == LOAD_NO_MEMORY:
            raise MemoryError()
        raise OSError(error, f"{(<bytes>strerror(error)).decode()}, {peer}, {after}")

    def stop(self):
        kx_store64(&self.data.stop, 1)

    @property
    def requests(self):
        return kx_load64(&self.data.requests)

    @property
    def records(self):
        return kx_load64(&self.data.records)

    @property
    def bytes(self):
        return kx_load64(&self.data.bytes)

    @property
    def failed(self):
        return kx_load64(&self.data.failed)

    @property
    def errors(self):
        return {code - 1: self.data.errors[code] for code in range(ERROR_CODES) if self.data.errors[code]}

    @property
    def slow(self):
        return [(self.data.slow[at].due / <double>SECOND, self.data.slow[at].latency / <double>SECOND)
                for at in range(self.data.slow_count)]

    @property
    def elapsed(self):
        return (self.data.ended - self.data.started) / <double>SECOND
