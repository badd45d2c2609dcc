"""One record at a time from a producer to a waiting consumer: how long until it is there, end to end."""

from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t
from libc.string cimport strerror

from kafkax._core.atomics cimport kx_load64, kx_store64
from kafkax._core.histogram cimport Histogram, histogram_record
from kafkax._core.linux cimport monotonic_ns, timespec
from kafkax._core.load_answers cimport API_FETCH, answer_t
from kafkax._core.load_connection cimport (
    LOAD_CLOSED, LOAD_NO_MEMORY, LOAD_SILENT, LOAD_SYSTEM, Target, connection_fill, connection_flush, connection_free,
    connection_free_slots, connection_init, connection_receive, connection_t, slot_t,
)

from kafkax.errors import ErrorCode, KafkaError, ProtocolError

cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long count, int timeout) noexcept
    int POLLIN

cdef extern from "<time.h>" nogil:
    int clock_nanosleep(int clock, int flags, const timespec* until, timespec* rest) noexcept
    int CLOCK_MONOTONIC
    int TIMER_ABSTIME

cdef enum:
    SECOND = 1000000000
    TICK_MS = 50
    REFUSED = -100           # an answer carried a Kafka error


cdef void on_done(void* owner, connection_t* connection, slot_t* slot, const answer_t* answer) noexcept nogil:
    cdef round_trip_t* trip = <round_trip_t*>owner
    cdef int64_t now = monotonic_ns()
    if answer.error != 0:
        trip.failed = answer.error
    elif slot.target.api != API_FETCH:
        histogram_record(trip.acknowledged, now - slot.due)
    elif answer.records > 0:
        histogram_record(trip.delivered, now - trip.due)
        trip.awaited -= answer.records


cdef int keep_waiting(round_trip_t* trip) noexcept nogil:
    """Have a fetch parked at the end of the log at all times."""
    if connection_free_slots(&trip.consumer) > 0:
        connection_fill(&trip.consumer, monotonic_ns())
    return connection_flush(&trip.consumer, on_done, trip)


cdef int exchange(round_trip_t* trip, int64_t silence) noexcept nogil:
    """Send one record; return once it is acknowledged and delivered."""
    cdef pollfd[2] sockets
    cdef int64_t deadline = monotonic_ns() + silence
    cdef int code
    sockets[0].fd, sockets[0].events = trip.producer.fd, <short>POLLIN
    sockets[1].fd, sockets[1].events = trip.consumer.fd, <short>POLLIN
    connection_fill(&trip.producer, trip.due)
    code = connection_flush(&trip.producer, on_done, trip)
    while code == 0 and (trip.awaited > 0 or trip.producer.answered < trip.producer.filled):
        sockets[0].revents = sockets[1].revents = 0
        if poll(sockets, 2, TICK_MS) < 0 and errno != EINTR:
            return LOAD_SYSTEM
        if sockets[1].revents:
            code = connection_receive(&trip.consumer, on_done, trip)
            if code == 0:
                code = keep_waiting(trip)
        if code == 0 and sockets[0].revents:
            code = connection_receive(&trip.producer, on_done, trip)
        if code == 0 and trip.failed != 0:
            return REFUSED
        if code == 0 and monotonic_ns() > deadline:
            return LOAD_SILENT
    return code


cdef void sleep_until(int64_t due) noexcept nogil:
    cdef timespec when
    when.tv_sec, when.tv_nsec = due // SECOND, due % SECOND
    while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR:
        pass


cdef int repeat(round_trip_t* trip, int64_t count, int64_t interval, int64_t silence) noexcept nogil:
    cdef int64_t started = monotonic_ns()
    cdef int64_t number
    cdef int code = keep_waiting(trip)
    for number in range(count):
        if code < 0 or kx_load64(&trip.stop):
            break
        trip.due = monotonic_ns()
        if interval > 0:
            trip.due = started + number * interval
            sleep_until(trip.due)
        trip.awaited += trip.produced.records
        code = exchange(trip, silence)
        if code == 0:
            kx_store64(&trip.sent, number + 1)
    return code


cdef class RoundTrip:
    def __init__(self, producer not None, Target produced not None, consumer not None, Target fetched not None):
        if self.sockets is not None:
            raise RuntimeError("a RoundTrip is set up once")
        self.sockets, self.targets = (producer, consumer), (produced, fetched)
        self.acknowledged, self.delivered = Histogram(), Histogram()
        self.data.acknowledged, self.data.delivered = self.acknowledged.data, self.delivered.data
        self.data.produced, self.data.fetched = produced.data, fetched.data
        producer.setblocking(False)
        consumer.setblocking(False)
        if connection_init(&self.data.producer, producer.fileno(), 1, &self.data.produced, 1) < 0 \
                or connection_init(&self.data.consumer, consumer.fileno(), 1, &self.data.fetched, 1) < 0:
            raise MemoryError()

    def __dealloc__(self):
        connection_free(&self.data.producer)
        connection_free(&self.data.consumer)

    def run(self, int64_t count, *, double rate=0.0, double silence=30.0):
        cdef int64_t interval = <int64_t>(<double>SECOND / rate) if rate > 0 else 0
        cdef int64_t patience = <int64_t>(silence * SECOND)
        cdef int code
        with nogil:
            code = repeat(&self.data, count, interval, patience)
        if code < 0:
            self.fail(code)

    cdef fail(self, int code):
        after = f"after {self.data.sent} records"
        if code == REFUSED:
            refused = <int>self.data.failed
            known = ErrorCode(refused) if refused in ErrorCode._value2member_map_ else ErrorCode.UNKNOWN_SERVER_ERROR
            raise KafkaError(known, f"the broker answered error {refused} {after}")
        if code == LOAD_CLOSED:
            raise ConnectionError(f"the broker closed the connection {after}")
        if code == LOAD_SILENT:
            raise TimeoutError(f"a record was not delivered in time, {after}")
        if code == LOAD_NO_MEMORY:
            raise MemoryError()
        if code == LOAD_SYSTEM:
            raise OSError(errno, (<bytes>strerror(errno)).decode())
        raise ProtocolError(f"the broker sent an answer that does not parse or was not asked for, {after}")

    def stop(self):
        kx_store64(&self.data.stop, 1)

    @property
    def sent(self):
        return kx_load64(&self.data.sent)
