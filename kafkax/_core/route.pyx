"""The way of a partition's batches to its leader, when each goes alone."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from kafkax._core.channel cimport Channel
from kafkax._core.cursor cimport (
    kx_put16, kx_put32, read_i16, read_i32, read_i64, read_uvarint, reader, reader_t, remaining, take,
)
from kafkax._core.produced cimport ProducedBatch
from kafkax._core.varint cimport put_uvarint

cdef enum:
    PRODUCE = 0
    TOPIC_ID = 16
    # Of the request: no transaction, acks, timeout, one topic, its id, one partition, its number.
    FRONT = 29
    MOST_VARINT = 10

# Tags of the partition, the topic and the request: none.
cdef bytes NO_TAGS = b"\0\0\0"


cdef class ProduceRoute:

    def __init__(
        self, Channel channel not None, stamp, int16_t version, int16_t acks, int32_t timeout_ms, bytes topic_id not None,
        int32_t partition, double timeout,
    ):
        cdef uint8_t[FRONT] front
        if len(topic_id) != TOPIC_ID or version < 13:
            raise ValueError(f"a topic id of {len(topic_id)} bytes in version {version}; 16 and at least 13 are needed")
        front[0] = 0
        kx_put16(&front[1], <int16_t>acks)
        kx_put32(&front[3], timeout_ms)
        front[7] = 2
        memcpy(&front[8], PyBytes_AS_STRING(topic_id), TOPIC_ID)
        front[24] = 2
        kx_put32(&front[25], partition)
        self.channel = channel
        self.stamp = stamp
        self.version = version
        self._front = <bytes>(<const char *>front)[:FRONT]
        self._topic_id = topic_id
        self._partition = partition
        self._timeout = timeout

    def send(self, ProducedBatch batch not None, answer):
        cdef uint8_t[FRONT + MOST_VARINT] front
        data = batch.wire()
        memcpy(front, PyBytes_AS_STRING(self._front), FRONT)
        head = PyBytes_FromStringAndSize(<const char *>front, put_uvarint(&front[FRONT], <uint64_t>len(data) + 1) - front)
        self.channel._post(PRODUCE, self.version, [head, data, NO_TAGS], self._timeout, answer)

    def read(self, const uint8_t[::1] frame not None):
        cdef reader_t r = reader(&frame[0], frame.shape[0])
        cdef const uint8_t *topic_id
        cdef int64_t offset, at
        cdef bint plain
        read_i32(&r)
        plain = read_uvarint(&r) == 0 and read_uvarint(&r) == 2
        topic_id = take(&r, TOPIC_ID)
        if not plain or topic_id == NULL or memcmp(topic_id, PyBytes_AS_STRING(self._topic_id), TOPIC_ID) != 0:
            return None
        plain = read_uvarint(&r) == 2 and read_i32(&r) == self._partition and read_i16(&r) == 0
        offset = read_i64(&r)
        at = read_i64(&r)
        read_i64(&r)
        # No errors of single records, no message, no tags of the partition and the topic.
        plain = plain and read_uvarint(&r) <= 1 and read_uvarint(&r) == 0 and read_uvarint(&r) == 0 and read_uvarint(&r) == 0
        read_i32(&r)
        if not plain or read_uvarint(&r) != 0 or r.bad or remaining(&r):
            return None
        return offset, at
