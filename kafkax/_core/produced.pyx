"""A batch that a producer fills: records are written in place, the header when it is sealed."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from kafkax._core.atomics cimport kx_store32, kx_swap32
from kafkax._core.batch cimport (
    AT_ATTRIBUTES, AT_CRC, AT_LENGTH, ATTRIBUTE_TRANSACTIONAL, BATCH_HEADER, BATCH_OVERHEAD, record_next, record_t,
)
from kafkax._core.crc32c cimport crc32c_update
from kafkax._core.cursor cimport kx_put16, kx_put32, kx_put64
from kafkax._core.message cimport TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message
from kafkax._core.varint cimport put_uvarint, varint_size

from asyncio import CancelledError, InvalidStateError, get_running_loop

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef extern from "Python.h":
    ctypedef struct PyAsyncMethods:
        void *am_send
    ctypedef struct PyTypeObject:
        PyAsyncMethods *tp_as_async
    enum:
        PYGEN_RETURN
        PYGEN_NEXT

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define kx_only_ours(thing) 0
    #else
    #define kx_only_ours(thing) (Py_REFCNT(thing) == 1)
    #endif
    """
    # Whether nobody but the caller's one variable refers to an object.
    bint kx_only_ours(object thing) noexcept

cdef enum:
    FIRST_CAPACITY = 4096
    # Lengths, deltas, attributes and counts of one record at their longest.
    MOST_OVERHEAD = 40
    # Buffers that are kept for the next batches: how many, and of how many bytes.
    SPARES = 16
    LEAST_SPARE = 65536
    # After so many who waited have gone on, what they sent goes on its way.
    AT_ONCE = 384
    MOST_SPARE = 1048576


cdef struct spares_t:
    int32_t locked
    int32_t count
    uint8_t *data[SPARES]
    size_t capacity[SPARES]


cdef spares_t spares


cdef size_t record_bound(int64_t key_size, int64_t value_size, int64_t headers_size) noexcept nogil:
    return <size_t>(max(key_size, 0) + max(value_size, 0) + headers_size + MOST_OVERHEAD)


cdef inline uint8_t *put_varint(uint8_t *at, int64_t value) noexcept nogil:
    return put_uvarint(at, (<uint64_t>value << 1) ^ <uint64_t>(value >> 63))


cdef inline uint8_t *put_block(uint8_t *at, const uint8_t *data, int64_t size) noexcept nogil:
    at = put_varint(at, size)
    if size > 0:
        memcpy(at, data, size)
        at += size
    return at


cdef uint8_t *grow(uint8_t *data, size_t size, size_t before, size_t *capacity) noexcept nogil:
    """A larger buffer with the first ``size`` bytes of one; NULL without memory. It may be larger than was asked for."""
    cdef uint8_t *found = NULL
    cdef int32_t index
    if capacity[0] < LEAST_SPARE:
        return <uint8_t *>realloc(data, capacity[0])
    lock_spares()
    for index in range(spares.count):
        if spares.capacity[index] >= capacity[0]:
            found = spares.data[index]
            capacity[0] = spares.capacity[index]
            spares.count -= 1
            spares.data[index] = spares.data[spares.count]
            spares.capacity[index] = spares.capacity[spares.count]
            break
    kx_store32(&spares.locked, 0)
    if found == NULL:
        return <uint8_t *>realloc(data, capacity[0])
    memcpy(found, data, size)
    give_back(data, before)
    return found


cdef void give_back(uint8_t *data, size_t capacity) noexcept nogil:
    """Let go of a buffer; some are kept, since the kernel clears every page of a new one."""
    cdef bint kept = False
    if LEAST_SPARE <= capacity <= MOST_SPARE:
        lock_spares()
        kept = spares.count < SPARES
        if kept:
            spares.data[spares.count] = data
            spares.capacity[spares.count] = capacity
            spares.count += 1
        kx_store32(&spares.locked, 0)
    if not kept:
        free(data)


cdef void lock_spares() noexcept nogil:
    while kx_swap32(&spares.locked, 1):
        sched_yield()


cdef class ProducedBatch:

    def __cinit__(self, topic, int32_t partition):
        cdef timespec now
        clock_gettime(CLOCK_MONOTONIC, &now)
        self.created = now.tv_sec + now.tv_nsec * 1e-9
        self.latency = -1
        self.topic = topic
        self.partition = partition
        self._size = BATCH_HEADER
        self.base_offset = self.append_time = self.producer_id = self.producer_epoch = self.base_sequence = -1

    def __dealloc__(self):
        give_back(self._data, self._capacity)

    cdef int32_t add(
        self, int64_t timestamp, const uint8_t *key, int64_t key_size, const uint8_t *value, int64_t value_size,
        const uint8_t *headers, int64_t headers_size, int32_t header_count, object callback, size_t room,
    ) except -1:
        """Write a record and keep who waits for it; 1 when it does not fit into ``room`` bytes, unless it is the first."""
        if self.write(timestamp, key, key_size, value, value_size, headers, headers_size, header_count, room):
            return 1
        self._remember(callback)
        return 0

    cdef int32_t write(
        self, int64_t timestamp, const uint8_t *key, int64_t key_size, const uint8_t *value, int64_t value_size,
        const uint8_t *headers, int64_t headers_size, int32_t header_count, size_t room,
    ) except -1:
        """``add`` without the callback, which goes with :meth:`reports_to`."""
        cdef size_t needed = self._size + record_bound(key_size, value_size, headers_size)
        cdef int64_t delta
        cdef int64_t body
        cdef uint8_t *at
        cdef uint8_t *grown
        cdef size_t capacity
        cdef size_t filled
        if self.count and needed > room:
            return 1
        if needed > self._capacity:
            capacity = max(needed, min(max(2 * self._capacity, FIRST_CAPACITY), room))
            filled = self._size if self.count else 0
            grown = grow(self._data, filled, self._capacity, &capacity)
            if grown == NULL:
                raise MemoryError(f"no {capacity} bytes for a batch of {self.topic}-{self.partition}")
            self._data = grown
            self._capacity = capacity
        if self.count == 0:
            self._base_timestamp = self._max_timestamp = timestamp
        delta = timestamp - self._base_timestamp
        self._max_timestamp = max(self._max_timestamp, timestamp)
        body = (
            1 + varint_size(delta) + varint_size(self.count) + varint_size(key_size) + max(key_size, 0)
            + varint_size(value_size) + max(value_size, 0) + varint_size(header_count) + headers_size
        )
        at = put_varint(self._data + self._size, body)
        at[0] = 0
        at = put_varint(put_varint(at + 1, delta), self.count)
        at = put_block(put_block(at, key, key_size), value, value_size)
        at = put_varint(at, header_count)
        if headers_size:
            memcpy(at, headers, headers_size)
            at += headers_size
        self._size = at - self._data
        self.count += 1
        self.payload += max(key_size, 0) + max(value_size, 0) + headers_size
        self.size = self._size
        return 0

    cdef object _remember(self, object callback):
        """Keep who waits: one function as long as it is the same for all, then a list."""
        if self._mixed:
            (<list>self._callbacks).append(callback)
        elif self.count == 1:
            self._callbacks = callback
        elif callback is not self._callbacks:
            self._callbacks = [self._callbacks] * (self.count - 1)
            self._callbacks.append(callback)
            self._mixed = True

    def records(self):
        if self.count == 0:
            return memoryview(b"")
        return memoryview(<const uint8_t[:self._size - BATCH_HEADER]>(self._data + BATCH_HEADER))

    def seal(self, int16_t codec, compressed, bint transactional):
        cdef uint8_t *shrunk
        cdef uint8_t *header
        cdef const uint8_t[::1] body
        cdef size_t size = self._size
        header = self._data
        if compressed is not None:
            body = compressed
            size = BATCH_HEADER + body.shape[0]
            self._wire = bytearray(size)
            header = <uint8_t *><char *>self._wire
            memcpy(header + BATCH_HEADER, &body[0], body.shape[0])
            if self._callbacks is None and not self.kept:
                give_back(self._data, self._capacity)
                self._data = NULL
                self._capacity = 0
        elif self._capacity - self._size > self._capacity // 4:
            shrunk = <uint8_t *>realloc(self._data, self._size)
            if shrunk != NULL:
                self._data = header = shrunk
                self._capacity = self._size
        kx_put64(header, 0)
        kx_put32(header + AT_LENGTH, <uint32_t>(size - BATCH_OVERHEAD))
        kx_put32(header + 12, 0xFFFFFFFF)
        header[16] = 2
        kx_put16(header + AT_ATTRIBUTES, codec | (ATTRIBUTE_TRANSACTIONAL if transactional else 0))
        kx_put32(header + 23, self.count - 1)
        kx_put64(header + 27, self._base_timestamp)
        kx_put64(header + 35, self._max_timestamp)
        kx_put32(header + 57, self.count)
        self.number(-1, -1, -1)

    def number(self, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence):
        cdef uint8_t *header = self._data if self._wire is None else <uint8_t *><char *>self._wire
        cdef size_t size = self._size if self._wire is None else len(self._wire)
        cdef uint32_t crc
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.base_sequence = base_sequence
        kx_put64(header + 43, <uint64_t>producer_id)
        kx_put16(header + 51, producer_epoch)
        kx_put32(header + 53, base_sequence)
        # With the GIL: a thread that lets go of it for a tenth of a millisecond waits for it fifty times as long.
        crc = crc32c_update(0, header + AT_ATTRIBUTES, size - AT_ATTRIBUTES)
        kx_put32(header + AT_CRC, crc)

    def wire(self):
        return self if self._wire is None else self._wire

    def __len__(self):
        return self._size

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self._data, self._size, 1, flags)

    @property
    def wanted(self):
        return self._callbacks is not None

    def serve(self):
        cdef const uint8_t *at = self._data + BATCH_HEADER
        cdef const uint8_t *end = self._data + self._size
        cdef record_t record
        cdef int32_t index
        cdef object callbacks = self._callbacks
        cdef object callback
        cdef Message message = None
        cdef bint mixed = self._mixed
        self._callbacks = None
        self._mixed = False
        for index in range(self.count if callbacks is not None else 0):
            if record_next(&at, end, &record):
                raise RuntimeError(f"a record of {self.topic}-{self.partition} changed while it was sent")
            callback = (<list>callbacks)[index] if mixed else callbacks
            if callback is None:
                continue
            if message is not None and message._changed is None and kx_only_ours(message):
                # The function neither kept nor changed the one before: it serves again.
                self._fill_in(message, &record, index)
            else:
                message = self._message(&record, index)
            try:
                callback(self.error, message)
            except BaseException:
                rest = <list>callbacks if mixed else [callbacks] * self.count
                self._callbacks = [None] * (index + 1) + rest[index + 1:]
                self._mixed = True
                raise
        return self.count

    cdef object wait_for(self, Waiting waiting):
        cdef list waiters = self._waiters
        if waiters is None:
            waiters = self._waiters = []
        elif waiters and waiting._index < (<Waiting>waiters[len(waiters) - 1])._index:
            self._disordered = True
        waiters.append(waiting)

    def settle(self, loop, between=None):
        cdef Waiting waiting
        cdef list waiters
        with cython.critical_section(self):
            waiters = self._waiters
            self._waiters = None
            self.settled = True
        if waiters is None:
            return
        if self._disordered:
            waiters.sort(key=by_index)
        self._fill(waiters)
        for index in range(len(waiters)):
            waiting = waiters[index]
            if waiting._loop is not loop:
                waiting.tell_elsewhere()
                continue
            try:
                # Tasks go on right here: a detour over the loop's queue costs more than all the rest.
                waiting.tell()
                if between is not None and (index + 1) % AT_ONCE == 0:
                    between()
            except BaseException:
                for waiting in waiters[index + 1:]:
                    waiting.tell_elsewhere()
                raise

    cdef int32_t _fill(self, list waiters) except -1:
        """Give those who wait, in the order of their records, what became of them."""
        cdef const uint8_t *at = self._data + BATCH_HEADER
        cdef const uint8_t *end = self._data + self._size
        cdef record_t record
        cdef int32_t next_index = 0
        cdef Waiting waiting
        for waiting in waiters:
            if waiting._done:
                continue
            while self.error is None and next_index <= waiting._index:
                if record_next(&at, end, &record):
                    raise RuntimeError(f"a record of {self.topic}-{self.partition} changed while it was sent")
                next_index += 1
            message = self._message(&record, waiting._index) if self.error is None else None
            with cython.critical_section(waiting):
                if not waiting._done:
                    waiting._message = message
                    waiting._error = self.error
                    waiting._done = True
        return 0

    cdef object at(self, int32_t index):
        """The message of a record."""
        cdef const uint8_t *at = self._data + BATCH_HEADER
        cdef record_t record
        for _ in range(index + 1):
            if record_next(&at, self._data + self._size, &record):
                raise RuntimeError(f"a record of {self.topic}-{self.partition} changed while it was sent")
        return self._message(&record, index)

    cdef Message _message(self, const record_t *record, int32_t index):
        cdef Message message = Message.over(self, self.topic, self.partition, record)
        if self.error is not None:
            message.fail(self.error)
        self._fill_in(message, record, index)
        return message

    cdef int32_t _fill_in(self, Message message, const record_t *record, int32_t index) noexcept:
        """Have a message of this batch show a record."""
        message._record = record[0]
        message._offset = self.base_offset + index if self.base_offset >= 0 else -1
        message._timestamp = self._base_timestamp + record.timestamp_delta if self.append_time < 0 else self.append_time
        message._latency = self.latency
        message._timestamp_type = TIMESTAMP_CREATE_TIME if self.append_time < 0 else TIMESTAMP_LOG_APPEND_TIME
        return 0


def by_index(Waiting waiting):
    return waiting._index


@cython.freelist(256)
cdef class Delivery:

    def done(self):
        return self._batch is not None and self._batch.settled

    def exception(self):
        if not self.done():
            raise InvalidStateError("the record is not delivered yet")
        return self._batch.error

    def message(self):
        self.exception()
        return self._batch.at(self._index)

    def result(self):
        error = self.exception()
        if error is not None:
            raise error
        return self._batch.at(self._index)

    cdef Waiting wait(self):
        """Something to wait on that is done when the record is."""
        cdef ProducedBatch batch
        cdef Waiting waiting = Waiting.__new__(Waiting)
        cdef bint hurry = False
        waiting._loop = get_running_loop()
        while waiting._batch is None:
            batch = self._batch
            with cython.critical_section(batch):
                # The record may go to another batch, and that one be done, while threads meet here.
                if self._batch is batch:
                    waiting._batch = batch
                    waiting._index = self._index
                    if batch.settled:
                        waiting._error = batch.error
                        waiting._message = batch.at(self._index) if batch.error is None else None
                        waiting._done = True
                    else:
                        batch.wait_for(waiting)
                        hurry = not batch.urgent
                        batch.urgent = True
        if hurry:
            self._hurry()
        return waiting

    def __await__(self):
        if self._fresh:
            # The first time tells that the record is taken, which it is.
            self._fresh = False
            return self
        if self._batch.settled:
            return Ready(self)
        return self.wait()

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration(self)

    def add_done_callback(self, function):
        if self._batch.settled:
            get_running_loop().call_soon(function, self)
        else:
            self.wait().add_done_callback(lambda _: function(self))


@cython.freelist(256)
cdef class Waiting:

    def __iter__(self):
        return self

    def __await__(self):
        return self

    def __next__(self):
        if not self._done:
            self._asyncio_future_blocking = True
            return self
        raise StopIteration(self.result())

    def get_loop(self):
        return self._loop

    def done(self):
        return self._done

    def cancelled(self):
        return isinstance(self._error, CancelledError)

    def result(self):
        if not self._done:
            raise InvalidStateError("the record is not delivered yet")
        if self._error is not None:
            raise self._error
        return self._message

    def exception(self):
        if self.cancelled():
            raise self._error
        return self._error

    def add_done_callback(self, callback, *, context=None):
        self._callback = callback
        self._context = context
        if self._done:
            self._loop.call_soon(self.late)

    def remove_done_callback(self, callback):
        removed = self._callback is not None and self._callback == callback
        if removed:
            self._callback = None
        return int(removed)

    def cancel(self, msg=None):
        with cython.critical_section(self):
            if self._done:
                return False
            self._error = CancelledError() if msg is None else CancelledError(msg)
            self._done = True
        self._loop.call_soon(self.late)
        return True

    cdef object tell(self):
        """Have what waits go on, once."""
        callback, self._callback = self._callback, None
        if callback is None:
            return None
        if self._context is None:
            callback(self)
        else:
            self._context.run(callback, self)

    cdef object tell_elsewhere(self):
        """Have what waits go on in its own loop, unless that has ended."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.late)

    def late(self):
        self.tell()


cdef class Ready:
    """The iterator of an awaitable that has its result already."""
    cdef Delivery _delivery

    def __cinit__(self, Delivery delivery):
        self._delivery = delivery

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration(self._delivery.result())


# What ``send`` of a generator is to types of C: a result without an exception to carry it.

cdef int delivery_send(Delivery self, object value, PyObject **result) except -1:
    Py_INCREF(self)
    result[0] = <PyObject *>self
    return PYGEN_RETURN


cdef int waiting_send(Waiting self, object value, PyObject **result) except -1:
    cdef object found = self
    if self._done:
        found = self.result()
    else:
        self._asyncio_future_blocking = True
    Py_INCREF(found)
    result[0] = <PyObject *>found
    return PYGEN_RETURN if self._done else PYGEN_NEXT


(<PyTypeObject *>Delivery).tp_as_async.am_send = <void *>delivery_send
(<PyTypeObject *>Waiting).tp_as_async.am_send = <void *>waiting_send
