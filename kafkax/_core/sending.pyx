"""What a producer sends and is told in the ordinary case, on any thread; nothing of it runs Python between its steps.

That makes it cheap, and safe on a caller's thread: Ctrl-C raises between two steps of Python, and would leave a batch that is
taken but not noted as sent. What Python there is (compression, why a connection is gone) comes where a batch is noted already,
and what it raises is raised when everything else is done.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.pythread cimport PyThread_get_thread_ident
from libc.math cimport INFINITY
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
from posix.unistd cimport usleep

from kafkax._core.accumulator cimport Accumulator, PartitionQueue
from kafkax._core.channel cimport Channel, Pending
from kafkax._core.cursor cimport kx_put16, kx_put32
from kafkax._core.latch cimport Latch
from kafkax._core.linux cimport monotonic
from kafkax._core.produced cimport ProducedBatch
from kafkax._core.varint cimport put_uvarint

from collections import deque

from kafkax._core.replies import plain_produce
from kafkax.errors import ErrorCode, KafkaError

cdef enum:
    PRODUCE = 0
    # First version that names topics by their ids.
    IDS_SINCE = 13
    TOPIC_ID = 16
    REQUEST_BYTES = 16777216
    # What stands between two batches of a request at most: tags, acks, timeout, counts, a topic's id, a number, a length.
    MOST_FRONT = 64
    # Bytes of a batch that a caller compresses himself; the I/O thread compresses others meanwhile.
    FEW = 16384
    # Microseconds for which a caller lets the I/O thread go first while a producer starts, and how often.
    PAUSE_US = 50
    PAUSES = 500

cdef int64_t SEQUENCES = 1 << 31

# Seconds between looks of a caller who polls all the time, and for which he is believed to come back.
cdef double VISITS = 0.0001
cdef double ATTENDED = 0.002


cdef class ProduceRoute:

    def __init__(self, Channel channel not None, int64_t stamp, int16_t version, bytes topic_id not None):
        if len(topic_id) != TOPIC_ID or version < IDS_SINCE:
            raise ValueError(f"a topic id of {len(topic_id)} bytes in version {version}; 16 and at least 13 are needed")
        self.channel = channel
        self.stamp = stamp
        self.version = version
        self.topic_id = topic_id


cdef class PartitionState:

    def __init__(self, PartitionQueue queue not None, backoff):
        self.queue = queue
        self.backoff = backoff
        self.retry = deque()
        self.in_flight = []


cdef class ProduceCall(Pending):

    def __init__(self, Dispatcher sender not None, Channel channel not None, int16_t version):
        self._sender = sender
        self.channel = channel
        self.version = version
        self.batches = []
        self._topic_ids = []

    cdef object add(self, PartitionState state, ProducedBatch batch, bytes topic_id):
        """Have a batch be part of the request; from now on it is on its way."""
        batch.attempts += 1
        state.in_flight.append(batch)
        self.batches.append((state, batch))
        self._topic_ids.append(topic_id)
        self._size += batch.size

    def send(self, batches, topic_ids, parts):
        for (state, batch), topic_id in zip(batches, topic_ids, strict=True):
            self.add(state, batch, topic_id)
        self._post(self.body() if parts is None else parts)

    cdef list body(self):
        """The request in pieces, the same as the schema makes of it."""
        cdef uint8_t[MOST_FRONT] front
        cdef uint8_t *at = front
        cdef Dispatcher sender = self._sender
        cdef dict by_topic = {}
        cdef list parts = []
        cdef PartitionState state
        cdef ProducedBatch batch
        cdef int32_t index
        for index in range(len(self.batches)):
            by_topic.setdefault(self._topic_ids[index], []).append(self.batches[index])
        # No transaction.
        at[0] = 0
        kx_put16(at + 1, <uint64_t>sender._acks)
        kx_put32(at + 3, sender._timeout_ms)
        at = put_uvarint(at + 7, <uint64_t>len(by_topic) + 1)
        for topic_id, each in by_topic.items():
            memcpy(at, PyBytes_AS_STRING(topic_id), TOPIC_ID)
            at = put_uvarint(at + TOPIC_ID, <uint64_t>len(each) + 1)
            for state, batch in each:
                data = batch.wire()
                kx_put32(at, state.queue.partition)
                at = put_uvarint(at + 4, <uint64_t>len(data) + 1)
                parts.append(PyBytes_FromStringAndSize(<const char *>front, at - front))
                parts.append(data)
                # No tags of the partition; of the topic and the request neither, below.
                front[0] = 0
                at = front + 1
            at[0] = 0
            at += 1
        at[0] = 0
        parts.append(PyBytes_FromStringAndSize(<const char *>front, at + 1 - front))
        return parts

    cdef bint _post(self, list parts) except -1:
        """Send it, or have it fail as if the connection had been lost."""
        self.channel.produces += 1
        self._sender._posting += 1
        try:
            self.channel.post(PRODUCE, self.version, self.body() if parts is None else parts, self._sender._timeout, self)
        except BaseException:
            if self.correlation_id < 0 and not self._answered:
                self.answered(KafkaError(ErrorCode.NETWORK_EXCEPTION, f"a request to {self.channel.address} was interrupted"))
            raise
        finally:
            self._sender._posting -= 1
        return True

    cdef object answered(self, object answer):
        """Take an answer in which everything was delivered; any other is left to the I/O thread."""
        cdef Dispatcher sender = self._sender
        cdef bint plain = False
        self._answered = True
        if self.version >= IDS_SINCE and not isinstance(answer, KafkaError):
            sender.lock.take()
            try:
                plain = sender._take_plain(self, answer)
                if plain:
                    self.channel.produces -= 1
            except BaseException:
                sender.lock.release()
                raise
            if plain:
                sender._go_on(sender._dispatch(monotonic()))
                return
            sender.lock.release()
        if sender._inside() and not sender._posting:
            sender.unusual(self, answer)
        else:
            # What sends goes on first: it may have more on its way already.
            sender._call_soon(sender.unusual, (self, answer))

    cdef list _results(self, object answer):
        """First offsets and append times in the order of the batches; None unless the answer says just that, for all of them."""
        cdef PartitionState state
        cdef int32_t index, other
        cdef list found = plain_produce(answer)
        cdef list ordered = []
        if found is None or len(found) != len(self.batches):
            return None
        for index in range(len(self.batches)):
            state = self.batches[index][0]
            for other in range(len(found)):
                # Mostly they are in the same order.
                topic_id, partition, offset, append_time = found[(index + other) % len(found)]
                if partition == state.queue.partition and topic_id == self._topic_ids[index]:
                    ordered.append((offset, append_time))
                    break
            else:
                return None
        return ordered


cdef class Dispatcher:

    def __init__(
        self, Accumulator accumulator not None, loop, owner, *, acks, timeout_ms, timeout, linger, delivery_timeout,
        most_in_flight, codec, compress, shared,
    ):
        self.accumulator = accumulator
        self.lock = Latch()
        self.channels = []
        self.retrying = set()
        self.shared = shared
        self._others = []
        self._loop = loop
        self._owner = owner
        self._acks = acks
        self._timeout_ms = timeout_ms
        self._timeout = timeout
        self._linger = linger
        self._delivery_timeout = delivery_timeout
        self._most_in_flight = most_in_flight
        # A caller who goes on as soon as a consumer has the record may be quicker than the broker's answer to the producer.
        self._most_alone = min(most_in_flight, 2)
        self._codec = codec
        self._compress = compress

    cdef bint _inside(self) noexcept:
        return self._owner == <int64_t>PyThread_get_thread_ident()

    cdef object _call_soon(self, object function, tuple arguments):
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    cpdef object ask(self):
        if not self.asked:
            self.asked = True
            self._call_soon(self.run, ())

    # sending

    def dispatch(self, double now):
        self._dispatch(now)
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        return self._others, self._later

    cdef bint _dispatch(self, double now):
        """Send all that is due and ordinary, with the lock held; whether there is something that the I/O thread has to see to."""
        cdef bint sent = False
        cdef list active = self.accumulator.active
        self._later = INFINITY
        self._starting = self.producer is None
        if self.producer is None or self.bumping or self.retrying or not self.ordinary:
            self._others = list(active)
            return bool(active) or self.bumping or bool(self.retrying)
        try:
            while self._pass(now):
                sent = True
            if sent:
                self.accumulator.settle()
        except BaseException as failure:
            # Whoever holds the lock raises it when he has let go of it.
            self._raised = self._raised or failure
            return True
        return bool(self._others)

    cdef object _go_on(self, bint more):
        """Let go of the lock after a dispatch; what it left is the I/O thread's, what was raised meanwhile the caller's."""
        raised, self._raised = self._raised, None
        self.lock.release()
        if more:
            self.ask()
        if raised is not None:
            raise raised

    cdef bint _pass(self, double now) except -1:
        """Send at most one batch of each partition; whether there was one."""
        cdef list calls = []
        cdef bint sent = False
        cdef PartitionQueue queue
        self._later = INFINITY
        self._others = []
        try:
            for queue in list(self.accumulator.active):
                sent = self._consider(queue, now, calls) is not None or sent
        finally:
            self._send(calls)
        return sent

    cdef ProduceCall _consider(self, PartitionQueue queue, double now, list calls):
        """Take a partition's next batch if it is due; notes who is to look at it otherwise, or when."""
        cdef PartitionState state = queue.state
        cdef ProducedBatch oldest = queue.full[0] if queue.full else queue.current
        cdef ProducedBatch batch
        cdef ProduceRoute route
        cdef ProduceCall call
        cdef bint due
        if oldest is None:
            return None
        if queue.partition < 0:
            self._starting = True
            return None
        route = None if state is None else state.route
        if (route is None or route.stamp != self.stamp or route.channel.shared_fd < 0 or state.retry
                or now - oldest.created > self._delivery_timeout or self._codec and oldest.size > FEW and not self._inside()):
            self._others.append(queue)
            self._starting = self._starting or state is None or not state.confirmed
            return None
        due = bool(queue.full) or self.flushing > 0 or oldest.urgent or now - oldest.created >= self._linger
        if not due:
            self._later = min(self._later, oldest.created + self._linger)
            return None
        if len(state.in_flight) >= (self._most_in_flight if state.confirmed else 1):
            return None
        call = self._open(state, oldest, calls)
        if call is None:
            return None
        batch = self.accumulator.take(queue, True)
        if batch is None:
            return None
        self._take(state, batch, call)
        return call

    cdef ProduceCall _open(self, PartitionState state, ProducedBatch oldest, list calls):
        """The request that a batch is to be part of; None while its connection has enough of them."""
        cdef ProduceRoute route = state.route
        cdef ProduceCall call
        cdef int32_t opened = 0
        for call in calls:
            if call.channel is route.channel:
                if call._size + oldest.size <= REQUEST_BYTES and call.version == route.version:
                    return call
                opened += 1
        if route.channel.produces + opened >= self._most_in_flight:
            return None
        call = ProduceCall(self, route.channel, route.version)
        calls.append(call)
        return call

    cdef object _take(self, PartitionState state, ProducedBatch batch, ProduceCall call):
        call.add(state, batch, state.route.topic_id)
        self._seal(state, batch)

    cdef object _seal(self, PartitionState state, ProducedBatch batch):
        if self._codec:
            try:
                batch.seal(self._codec, self._compress(batch.records()), False)
            except BaseException as failure:
                # It is sent all the same, as it is.
                self._raised = self._raised or failure
                batch.seal(0, None, False)
        else:
            batch.seal(0, None, False)
        self.number(state, batch)

    cpdef object number(self, PartitionState state, ProducedBatch batch):
        producer_id, epoch = self.producer
        if producer_id >= 0:
            batch.number(producer_id, epoch, state.next_sequence)
            state.next_sequence = (state.next_sequence + batch.count) % SEQUENCES

    cdef object _send(self, list calls):
        cdef ProduceCall call
        for call in calls:
            if not call.batches:
                continue
            try:
                call._post(None)
            except BaseException as failure:
                self._raised = self._raised or failure

    # what callers do

    def send_now(self):
        cdef bint sent = False
        if self.lock.attempt():
            sent = self._send_only()
            self._go_on(not sent)
        else:
            self.ask()
        if sent:
            # Answers to what was sent before are taken while the broker is at work.
            self._receive()

    cdef bint _send_only(self) except -1:
        """Send the batch of the only partition that has one; False where anything stands in the way."""
        cdef list active = self.accumulator.active
        cdef PartitionQueue queue
        cdef PartitionState state
        if len(active) != 1:
            return False
        queue = active[0]
        state = queue.state
        if state is None or state.route is None or not state.confirmed or queue.full:
            return False
        if len(state.in_flight) >= self._most_alone or state.route.channel.produces >= self._most_alone:
            return False
        self.accumulator.resume()
        return not self._dispatch(monotonic())

    def filled(self):
        if not self.lock.attempt() or self._attend(monotonic()):
            # Whoever sends may be past this partition.
            self.ask()

    cpdef object visit(self):
        cdef double now = monotonic()
        if now < self._next_visit:
            return
        self._next_visit = now + VISITS
        if self.lock.attempt():
            # What is left to the I/O thread it knows of, or will look at in time.
            self._attend(now)
            if not self._starting or self._pauses >= PAUSES:
                return
            # Until it can send, the I/O thread has many steps to do, and would wait for the interpreter before each.
            self._pauses += 1
        # So does whoever is at it.
        with nogil:
            usleep(PAUSE_US)

    cdef bint _attend(self, double now) except -1:
        """Send what is due and take what has arrived, with the lock held, which is let go; whether something is left."""
        cdef bint more = self._dispatch(now)
        if self.shared and not more:
            self.attended_until = now + ATTENDED
        self._go_on(False)
        self._receive()
        return more

    cdef object _receive(self):
        cdef Channel channel
        for channel in self.channels if self.shared else ():
            if channel.produces > 0 and channel.shared_fd >= 0:
                channel.take_over()
                channel.receive()

    def hurry(self):
        return Hurry(self)

    # answers

    cdef bint _take_plain(self, ProduceCall call, object answer) except -1:
        """Take an answer that says of everything in a request that it was delivered, with the lock held; False for any other."""
        cdef list results = call._results(answer)
        cdef int32_t index
        if results is None:
            return False
        for index in range(len(results)):
            state, batch = call.batches[index]
            offset, append_time = results[index]
            self.delivered(state, batch, offset, append_time)
        return True

    cpdef object delivered(self, PartitionState state, ProducedBatch batch, int64_t base_offset, int64_t append_time):
        state.in_flight.remove(batch)
        if state.backoff.attempts:
            state.backoff.attempts = 0
        state.confirmed = True
        batch.error = None
        batch.latency = monotonic() - batch.created
        batch.base_offset = base_offset
        batch.append_time = append_time
        self.count(batch)
        self.accumulator.finished(batch)

    cpdef object count(self, ProducedBatch batch):
        metrics = self.metrics
        metrics.records += batch.count
        metrics.bytes += batch.size
        metrics.batches += 1


cdef class Hurry:

    def __init__(self, Dispatcher sender not None):
        self._sender = sender

    def __enter__(self):
        cdef Dispatcher sender = self._sender
        sender.lock.take()
        sender.flushing += 1
        try:
            sender._go_on(sender._dispatch(monotonic()))
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(self, kind, error, trace):
        cdef Dispatcher sender = self._sender
        sender.lock.take()
        sender.flushing -= 1
        sender.lock.release()
        # What is left lingers again.
        sender.ask()
