"""What a producer has taken and not yet sent: a batch per partition, filled by the caller's threads."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from kafkax._core.batch cimport BATCH_HEADER, record_next, record_t
from kafkax._core.murmur2 cimport murmur2_hash
from kafkax._core.produced cimport Delivery, ProducedBatch, Waiting

import os
import zlib
from collections import deque

from kafkax.errors import ErrorCode, KafkaError

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    int PyGC_Disable() noexcept
    int PyGC_Enable() noexcept

cdef enum:
    # A sticky partition gets so many bytes before the next one's turn (KIP-794).
    STICKY_BYTES = 16384
    MURMUR2 = 0
    CRC32 = 1
    RANDOM = 2

PARTITIONERS = {"murmur2_random": MURMUR2, "murmur2": MURMUR2, "consistent_random": CRC32, "consistent": CRC32, "random": RANDOM}


cdef inline object hold(object value, block_t *out):
    """Where the bytes of a key or a value are; gives the object that keeps them alive."""
    cdef Py_ssize_t size
    if value is None:
        out.data = NULL
        out.size = -1
        return None
    if PyBytes_CheckExact(value):
        out.data = <const uint8_t *>PyBytes_AS_STRING(value)
        out.size = PyBytes_GET_SIZE(value)
        return value
    if PyUnicode_Check(value):
        out.data = <const uint8_t *>PyUnicode_AsUTF8AndSize(value, &size)
        out.size = size
        return value
    if isinstance(value, int):
        raise TypeError(f"a key or value is bytes, str or None, not {type(value).__name__}")
    value = bytes(value)
    out.data = <const uint8_t *>PyBytes_AS_STRING(value)
    out.size = PyBytes_GET_SIZE(value)
    return value


cdef varint(int64_t value):
    cdef uint64_t raw = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    out = bytearray()
    while raw >= 128:
        out.append((raw & 127) | 128)
        raw >>= 7
    out.append(raw)
    return bytes(out)


cdef encode_headers(headers, int32_t *count):
    """Headers as they stand in a record."""
    parts = []
    pairs = headers.items() if isinstance(headers, dict) else headers
    count[0] = 0
    for name, value in pairs:
        raw = name.encode() if isinstance(name, str) else bytes(name)
        parts.append(varint(len(raw)) + raw)
        if value is None:
            parts.append(b"\x01")
        else:
            raw = value.encode() if isinstance(value, str) else bytes(value)
            parts.append(varint(len(raw)) + raw)
        count[0] += 1
    return b"".join(parts)


cdef class PartitionQueue:

    def __init__(self, topic, int32_t partition):
        self.topic = topic
        self.partition = partition
        self.full = deque()


cdef class TopicQueue:

    def __init__(self, topic):
        self.topic = topic
        self.count = -1
        self.queues = []
        self.unassigned = PartitionQueue(topic, -1)
        self.sticky = -1


cdef class Accumulator:

    def __init__(self, batch_size, batch_count, message_max, most_count, most_bytes, partitioner):
        self._topics = {}
        self._batch_size = batch_size
        self._batch_count = batch_count
        self._message_max = message_max
        self._most_count = most_count or (1 << 62)
        self._most_bytes = most_bytes
        self._partitioner = PARTITIONERS[partitioner]
        self._random = int.from_bytes(os.urandom(8), "little") | 1
        self.active = []
        self.failed = []
        self.reports = deque()
        self.waiting = []

    def attach(self, wake, on_topic, on_full):
        self._wake = wake
        self._on_topic = on_topic
        self._on_full = on_full

    def refuse(self, error):
        self.refused = error

    cdef uint32_t _draw(self) noexcept:
        """A random number (xorshift)."""
        self._random ^= self._random << 13
        self._random ^= self._random >> 7
        self._random ^= self._random << 17
        return <uint32_t>(self._random >> 16)

    cdef TopicQueue _topic(self, topic):
        cdef TopicQueue found = self._topics.get(topic)
        if found is None:
            if not isinstance(topic, str) or not topic:
                raise TypeError(f"topic is {topic!r}, a name is needed")
            found = self._topics[topic] = TopicQueue(topic)
            self._on_topic(topic)
        self._last = found
        return found

    cdef PartitionQueue _queue(self, TopicQueue topic, int32_t partition, block_t *key, size_t size):
        """Where a record goes."""
        cdef uint32_t hashed
        if topic.count <= 0:
            return topic.unassigned
        if partition < 0:
            if key.size >= 0 and self._partitioner == MURMUR2:
                partition = (murmur2_hash(key.data, key.size) & 0x7FFFFFFF) % topic.count
            elif key.size > 0 and self._partitioner == CRC32:
                hashed = zlib.crc32(<bytes>key.data[:key.size])
                partition = <int32_t>(hashed % <uint32_t>topic.count)
            else:
                partition = self._sticky(topic, size)
        elif partition >= topic.count:
            raise KafkaError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                f"{topic.topic} has {topic.count} partitions, no partition {partition}",
            )
        return <PartitionQueue>PyList_GET_ITEM(topic.queues, partition)

    cdef int32_t _sticky(self, TopicQueue topic, size_t size):
        """Stay with a partition for a while, so that batches fill (KIP-480, KIP-794)."""
        cdef int32_t step
        if topic.sticky < 0 or topic.sticky >= topic.count:
            topic.sticky = self._draw() % topic.count
        elif topic.sticky_bytes >= STICKY_BYTES and topic.count > 1:
            step = 1 + self._draw() % (topic.count - 1)
            topic.sticky = (topic.sticky + step) % topic.count
            topic.sticky_bytes = 0
        topic.sticky_bytes += size
        return topic.sticky

    def produce(
        self, topic, value=None, key=None, partition=-1, on_delivery=None, timestamp=0, headers=None, *, callback=None,
    ):
        if on_delivery is None:
            on_delivery = self.on_delivery if callback is None else callback
        self._take(topic, value, key, partition, timestamp, headers, on_delivery)

    def send(self, topic, value=None, key=None, partition=-1, timestamp=0, headers=None):
        cdef Delivery delivery
        try:
            delivery = self.deliver(topic, value, key, partition, timestamp, headers)
        except BufferError:
            if self.when_full is None:
                raise
            return self.when_full(topic, value, key, partition, timestamp, headers)
        delivery._fresh = True
        return delivery

    cpdef Delivery deliver(self, topic, value=None, key=None, partition=-1, timestamp=0, headers=None):
        cdef Delivery delivery = Delivery.__new__(Delivery)
        delivery._hurry = self.hurry
        self._take(topic, value, key, partition, timestamp, headers, delivery)
        return delivery

    cdef int32_t _take(self, topic, value, key, partition, timestamp, headers, callback) except -1:
        cdef block_t keys
        cdef block_t values
        cdef bytes raw = None
        cdef int32_t header_count = 0
        cdef int64_t when = timestamp
        cdef size_t size
        cdef timespec now
        cdef TopicQueue known
        cdef PartitionQueue queue
        cdef int32_t chosen = partition
        cdef bint wake, filled
        if self.refused is not None:
            raise self.refused
        _kept_key = hold(key, &keys)
        _kept_value = hold(value, &values)
        if headers is not None:
            raw = encode_headers(headers, &header_count)
        size = max(keys.size, 0) + max(values.size, 0) + (len(raw) if raw is not None else 0)
        if size + BATCH_HEADER > self._message_max:
            raise KafkaError(
                ErrorCode.MESSAGE_TOO_LARGE,
                f"a record of {size} bytes is above message.max.bytes={self._message_max}; raise it here and "
                f"max.message.bytes of the topic, or send less at once",
            )
        if when == 0:
            clock_gettime(CLOCK_REALTIME, &now)
            when = now.tv_sec * 1000 + now.tv_nsec // 1000000
        with cython.critical_section(self):
            if self.outstanding >= self._most_count or self.outstanding_bytes + <int64_t>size > self._most_bytes:
                raise BufferError(
                    f"{self.outstanding} records of {self.outstanding_bytes} bytes wait; poll() and try again, or raise "
                    f"queue.buffering.max.messages or queue.buffering.max.kbytes"
                )
            known = self._last
            if known is None or topic is not known.topic:
                known = self._topic(topic)
            queue = self._queue(known, chosen, &keys, size)
            if not (raw is None and self._continue(queue, when, &keys, &values, callback)):
                self._append(queue, when, &keys, &values, raw, header_count, callback, chosen)
            self.outstanding += 1
            self.outstanding_bytes += size
            wake, filled = self._waking, self._filled
            self._waking = self._filled = False
        if wake:
            self._wake()
        if filled:
            self._on_full()
        return 0

    cdef inline int32_t _continue(
        self, PartitionQueue queue, int64_t when, block_t *key, block_t *value, object callback,
    ) except -1:
        """Put a record where the one before went if it asks for nothing new, in which no object is made; 0 when that won't do."""
        cdef ProducedBatch batch = queue.current
        if batch is None or queue.partition < 0 or batch.count >= self._batch_count or not batch.reports_to(callback):
            return 0
        return not batch.write(when, key.data, key.size, value.data, value.size, NULL, 0, 0, self._batch_size)

    cdef int32_t _append(
        self, PartitionQueue queue, int64_t when, block_t *key, block_t *value, bytes headers, int32_t header_count,
        object callback, int32_t wanted,
    ) except -1:
        """Put a record into a batch. No garbage is collected meanwhile: its finalizers would let other threads run, which
        could take a batch that is half changed."""
        cdef int collecting = PyGC_Disable()
        try:
            return self._put(queue, when, key, value, headers, header_count, callback, wanted)
        finally:
            if collecting:
                PyGC_Enable()

    cdef int32_t _put(
        self, PartitionQueue queue, int64_t when, block_t *key, block_t *value, bytes headers, int32_t header_count,
        object callback, int32_t wanted,
    ) except -1:
        cdef const uint8_t *header_data = NULL
        cdef int64_t header_size = 0
        cdef ProducedBatch batch = queue.current
        cdef int32_t full
        cdef Delivery delivery = None
        if type(callback) is Delivery:
            delivery = callback
            if queue.partition >= 0:
                # It finds its record itself; only before the partition is known it must be told.
                callback = None
        if headers is not None:
            header_data = <const uint8_t *>PyBytes_AS_STRING(headers)
            header_size = PyBytes_GET_SIZE(headers)
        # Before the topic is known a batch holds records of one wish only, which stands in its partition.
        if batch is not None and batch.count < self._batch_count and (queue.partition >= 0 or batch.partition == wanted):
            full = batch.add(
                when, key.data, key.size, value.data, value.size, header_data, header_size, header_count, callback,
                self._batch_size,
            )
            if not full:
                if delivery is not None:
                    self._bind(delivery, batch)
                return 0
        if batch is not None:
            queue.full.append(batch)
            self._filled = queue.partition >= 0
        batch = queue.current = ProducedBatch(queue.topic, queue.partition if queue.partition >= 0 else wanted)
        batch.add(
            when, key.data, key.size, value.data, value.size, header_data, header_size, header_count, callback,
            self._batch_size,
        )
        if delivery is not None:
            self._bind(delivery, batch)
        if not queue.active:
            queue.active = True
            self.active.append(queue)
        if not self._signalled:
            self._signalled = self._waking = True
        return 0

    cdef int32_t _bind(self, Delivery delivery, ProducedBatch batch) except -1:
        """Have a delivery lead to the last record of a batch, and those that wait for it wait there."""
        cdef ProducedBatch before = delivery._batch
        cdef int32_t index = batch.count - 1
        batch.kept = True
        if before is None:
            delivery._batch = batch
            delivery._index = index
            return 0
        with cython.critical_section(before, batch):
            self._follow(before, delivery._index, batch, index)
            delivery._batch = batch
            delivery._index = index
        return 0

    cdef int32_t _follow(self, ProducedBatch before, int32_t was, ProducedBatch batch, int32_t index) except -1:
        """Have those that wait for a record wait for it in the batch that it went to."""
        cdef Waiting waiting
        for waiting in before._waiters or ():
            if waiting._index == was:
                waiting._batch = batch
                waiting._index = index
                batch.wait_for(waiting)
                batch.urgent = True
        return 0

    cpdef object resume(self):
        self._signalled = False

    def quiet(self):
        self._signalled = True

    def topic_known(self, topic, int32_t count):
        cdef TopicQueue known
        cdef ProducedBatch batch
        with cython.critical_section(self):
            known = self._topics.get(topic)
            if known is None:
                return
            if count > known.count:
                known.queues.extend(PartitionQueue(known.topic, number) for number in range(len(known.queues), count))
                known.count = count
            waiting = list(known.unassigned.full)
            if known.unassigned.current is not None:
                waiting.append(known.unassigned.current)
            known.unassigned.full.clear()
            known.unassigned.current = None
            for batch in waiting:
                self._assign(known, batch)

    cdef object _assign(self, TopicQueue topic, ProducedBatch batch):
        """Give the records of a batch their partitions; those whose partition does not exist fail."""
        cdef const uint8_t *at = batch._data + BATCH_HEADER
        cdef const uint8_t *end = batch._data + batch._size
        cdef record_t record
        cdef block_t key
        cdef block_t value
        cdef int32_t index
        if batch.partition >= topic.count:
            batch.error = KafkaError(
                ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                f"{topic.topic} has {topic.count} partitions, no partition {batch.partition}",
            )
            self.failed.append(batch)
            return
        for index in range(batch.count):
            if record_next(&at, end, &record):
                raise RuntimeError(f"a record of {topic.topic} changed while it waited")
            key.data, key.size = record.key, record.key_size
            value.data, value.size = record.value, record.value_size
            raw = None
            if record.header_count > 0:
                raw = <bytes>(<const char *>record.headers)[:record.end - record.headers]
            callback = (<list>batch._callbacks)[index] if batch._mixed else batch._callbacks
            self._append(
                self._queue(topic, batch.partition, &key, record.end - record.key if record.key != NULL else 0),
                batch._base_timestamp + record.timestamp_delta, &key, &value, raw, record.header_count, callback, -1,
            )

    def topic_failed(self, topic, error):
        cdef TopicQueue known
        with cython.critical_section(self):
            known = self._topics.pop(topic, None)
            self._last = None
            if known is None:
                return []
            queues = [known.unassigned, *known.queues]
            given_up = []
            for queue in queues:
                given_up += self._drain(queue)
        for batch in given_up:
            batch.error = error
        return given_up

    cdef list _drain(self, PartitionQueue queue):
        drained = list(queue.full)
        if queue.current is not None:
            drained.append(queue.current)
        queue.full.clear()
        queue.current = None
        return drained

    cpdef object take(self, PartitionQueue queue, bint force):
        cdef ProducedBatch batch
        with cython.critical_section(self):
            if queue.full:
                return queue.full.popleft()
            batch = queue.current
            if batch is not None and force:
                queue.current = None
                return batch
        return None

    cpdef object settle(self):
        cdef PartitionQueue queue
        with cython.critical_section(self):
            kept = []
            for queue in self.active:
                if queue.current is not None or queue.full:
                    kept.append(queue)
                else:
                    queue.active = False
            self.active = kept

    cpdef object finished(self, ProducedBatch batch):
        if batch._callbacks is not None:
            self.reports.append(batch)
        else:
            self.done(batch.count, batch.payload)
        self._tell()

    cpdef object done(self, int64_t count, int64_t size):
        with cython.critical_section(self):
            self.outstanding -= count
            self.outstanding_bytes -= size
        if self.outstanding == 0:
            self._tell()

    cdef object _tell(self):
        """Have those who wait look."""
        for lookout in self.waiting[:]:
            lookout.wake()

    def serve(self):
        cdef ProducedBatch batch
        cdef int64_t served = 0
        while True:
            try:
                batch = self.reports.popleft()
            except IndexError:
                # Nothing is left, or another thread serves as well.
                return served
            try:
                served += batch.serve()
            except BaseException:
                self.reports.appendleft(batch)
                raise
            self.done(batch.count, batch.payload)
