"""A batch that is written in place: records as they come, the header when it is finished."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from kafkax._core.batch cimport (
    AT_ATTRIBUTES, AT_CRC, AT_LAST_OFFSET_DELTA, AT_LENGTH, AT_MAGIC, AT_MAX_TIMESTAMP, ATTRIBUTE_TRANSACTIONAL, BATCH_HEADER,
    BATCH_OVERHEAD,
)
from kafkax._core.crc32c cimport crc32c_update
from kafkax._core.cursor cimport give, kx_put16, kx_put32, kx_put64, write_i8, write_varlong, writer, writer_t
from kafkax._core.varint cimport varint_size

cdef enum:
    AT_LEADER_EPOCH = 12
    AT_BASE_TIMESTAMP = 27
    AT_PRODUCER = 43
    AT_COUNT = 57
    MOST_OVERHEAD = 32
    # Lengths, deltas, attributes and header count of a record at their longest.
    FIRST_ROOM = 512
    KEPT_ROOM = 16384
    # A larger buffer is given back once its batch is finished.
    MOST = 0x7FFFFFFF


cdef void batch_begin(batch_buffer_t *batch) noexcept nogil:
    batch.size = BATCH_HEADER
    batch.count = 0


cdef uint8_t *batch_record(batch_buffer_t *batch, int64_t key_size, int64_t value_size, uint8_t **value) noexcept nogil:
    cdef size_t needed, room
    cdef uint8_t *grown
    cdef uint8_t *key
    cdef writer_t w
    if (not (0 <= key_size <= MOST and -1 <= value_size <= MOST)
            or <int64_t>batch.size + key_size + value_size > MOST - MOST_OVERHEAD):
        return NULL
    needed = batch.size + key_size + max(value_size, 0) + MOST_OVERHEAD
    if needed > batch.room:
        room = max(needed, max(<size_t>FIRST_ROOM, 2 * batch.room))
        grown = <uint8_t *>realloc(batch.data, room)
        if grown == NULL:
            return NULL
        batch.data = grown
        batch.room = room
    w = writer(batch.data + batch.size, batch.room - batch.size)
    write_varlong(&w, 4 + varint_size(batch.count) + varint_size(key_size) + key_size - 1
                  + varint_size(value_size) + max(value_size, <int64_t>0))
    write_i8(&w, 0)
    write_i8(&w, 0)
    write_varlong(&w, batch.count)
    write_varlong(&w, key_size)
    key = give(&w, key_size)
    write_varlong(&w, value_size)
    value[0] = give(&w, max(value_size, <int64_t>0))
    write_i8(&w, 0)
    batch.size = w.at - batch.data
    batch.count += 1
    return key


cdef void batch_finish(batch_buffer_t *batch, int64_t timestamp_ms, int64_t producer_id, int16_t producer_epoch,
                       bint transactional) noexcept nogil:
    cdef uint8_t *header = batch.data
    kx_put64(header, 0)
    kx_put32(header + AT_LENGTH, <uint32_t>(batch.size - BATCH_OVERHEAD))
    kx_put32(header + AT_LEADER_EPOCH, 0xFFFFFFFF)
    header[AT_MAGIC] = 2
    kx_put16(header + AT_ATTRIBUTES, ATTRIBUTE_TRANSACTIONAL if transactional else 0)
    kx_put32(header + AT_LAST_OFFSET_DELTA, batch.count - 1)
    kx_put64(header + AT_BASE_TIMESTAMP, <unsigned long long>timestamp_ms)
    kx_put64(header + AT_MAX_TIMESTAMP, <unsigned long long>timestamp_ms)
    kx_put64(header + AT_PRODUCER, <unsigned long long>producer_id)
    kx_put16(header + AT_PRODUCER + 8, <unsigned short>producer_epoch)
    kx_put32(header + AT_PRODUCER + 10, 0xFFFFFFFF)
    kx_put32(header + AT_COUNT, batch.count)
    kx_put32(header + AT_CRC, crc32c_update(0, header + AT_ATTRIBUTES, batch.size - AT_ATTRIBUTES))


cdef void batch_clear(batch_buffer_t *batch) noexcept nogil:
    batch_begin(batch)
    if batch.room > KEPT_ROOM:
        free(batch.data)
        batch.data = NULL
        batch.room = 0


cdef class BatchWriter:
    def __cinit__(self):
        batch_begin(&self.batch)

    def __dealloc__(self):
        free(self.batch.data)

    @property
    def size(self):
        return self.batch.size

    @property
    def count(self):
        return self.batch.count

    def add(self, bytes key not None, bytes value):
        cdef uint8_t *value_at = NULL
        cdef int64_t value_size = -1 if value is None else len(value)
        cdef uint8_t *key_at = batch_record(&self.batch, len(key), value_size, &value_at)
        if key_at == NULL:
            raise ValueError(f"a record with {len(key)} bytes of key and {value_size} of value does not fit into a batch")
        memcpy(key_at, <const char *>key, len(key))
        if value_size > 0:
            memcpy(value_at, <const char *>value, value_size)

    def clear(self):
        batch_clear(&self.batch)

    def finish(self, int64_t timestamp_ms, int64_t producer_id=-1, int16_t producer_epoch=-1, bint transactional=False):
        if self.batch.count == 0:
            raise ValueError("a batch needs at least one record")
        batch_finish(&self.batch, timestamp_ms, producer_id, producer_epoch, transactional)
        finished = PyBytes_FromStringAndSize(<const char *>self.batch.data, self.batch.size)
        self.clear()
        return finished
