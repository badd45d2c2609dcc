"""A batch that is written in place: records as they come, the header when it is finished."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from kafkax._core.batch cimport (
    AT_ATTRIBUTES, AT_CRC, AT_LAST_OFFSET_DELTA, AT_LENGTH, AT_MAGIC, AT_MAX_TIMESTAMP, ATTRIBUTE_TRANSACTIONAL, BATCH_HEADER,
    BATCH_OVERHEAD,
)
from kafkax._core.crc32c cimport crc32c_update
from kafkax._core.cursor cimport give, kx_put16, kx_put32, kx_put64, write_i8, write_varlong, writer, writer_t

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


cdef inline int32_t varint_size(int64_t value) noexcept nogil:
    cdef unsigned long long raw = (<unsigned long long>value << 1) ^ <unsigned long long>(value >> 63)
    cdef int32_t size = 1
    while raw >= 128:
        raw >>= 7
        size += 1
    return size


cdef class BatchWriter:
    def __cinit__(self):
        self.size = BATCH_HEADER

    def __dealloc__(self):
        free(self.data)

    cdef uint8_t *record(self, int64_t key_size, int64_t value_size, uint8_t **value) except NULL:
        cdef size_t needed, room
        cdef uint8_t *grown
        cdef uint8_t *key
        cdef writer_t w
        if not (0 <= key_size <= MOST and -1 <= value_size <= MOST) or self.size + key_size + value_size > MOST - MOST_OVERHEAD:
            raise ValueError(f"a record with {key_size} bytes of key and {value_size} of value does not fit into a batch")
        needed = self.size + key_size + max(value_size, 0) + MOST_OVERHEAD
        if needed > self.room:
            room = max(needed, max(<size_t>FIRST_ROOM, 2 * self.room))
            grown = <uint8_t *>realloc(self.data, room)
            if grown == NULL:
                raise MemoryError(f"no {room} bytes for a batch")
            self.data = grown
            self.room = room
        w = writer(self.data + self.size, self.room - self.size)
        write_varlong(&w, 4 + varint_size(self.count) + varint_size(key_size) + key_size - 1
                      + varint_size(value_size) + max(value_size, <int64_t>0))
        write_i8(&w, 0)
        write_i8(&w, 0)
        write_varlong(&w, self.count)
        write_varlong(&w, key_size)
        key = give(&w, key_size)
        write_varlong(&w, value_size)
        value[0] = give(&w, max(value_size, <int64_t>0))
        write_i8(&w, 0)
        self.size = w.at - self.data
        self.count += 1
        return key

    def add(self, bytes key not None, bytes value):
        cdef uint8_t *value_at = NULL
        cdef int64_t value_size = -1 if value is None else len(value)
        cdef uint8_t *key_at = self.record(len(key), value_size, &value_at)
        memcpy(key_at, <const char *>key, len(key))
        if value_size > 0:
            memcpy(value_at, <const char *>value, value_size)

    def clear(self):
        self.size = BATCH_HEADER
        self.count = 0
        if self.room > KEPT_ROOM:
            free(self.data)
            self.data = NULL
            self.room = 0

    def finish(self, int64_t timestamp_ms, int64_t producer_id=-1, int16_t producer_epoch=-1, bint transactional=False):
        cdef uint8_t *header = self.data
        cdef Py_ssize_t size = self.size
        if self.count == 0:
            raise ValueError("a batch needs at least one record")
        kx_put64(header, 0)
        kx_put32(header + AT_LENGTH, <uint32_t>(size - BATCH_OVERHEAD))
        kx_put32(header + AT_LEADER_EPOCH, 0xFFFFFFFF)
        header[AT_MAGIC] = 2
        kx_put16(header + AT_ATTRIBUTES, ATTRIBUTE_TRANSACTIONAL if transactional else 0)
        kx_put32(header + AT_LAST_OFFSET_DELTA, self.count - 1)
        kx_put64(header + AT_BASE_TIMESTAMP, <unsigned long long>timestamp_ms)
        kx_put64(header + AT_MAX_TIMESTAMP, <unsigned long long>timestamp_ms)
        kx_put64(header + AT_PRODUCER, <unsigned long long>producer_id)
        kx_put16(header + AT_PRODUCER + 8, <unsigned short>producer_epoch)
        kx_put32(header + AT_PRODUCER + 10, 0xFFFFFFFF)
        kx_put32(header + AT_COUNT, self.count)
        kx_put32(header + AT_CRC, crc32c_update(0, header + AT_ATTRIBUTES, size - AT_ATTRIBUTES))
        finished = PyBytes_FromStringAndSize(<const char *>header, size)
        self.clear()
        return finished
