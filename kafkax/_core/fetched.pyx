"""Batches that a consumer fetched: decoded record by record when they are touched."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t

from kafkax._core.batch cimport ATTRIBUTE_LOG_APPEND_TIME, BATCH_HEADER, batch_read, batch_t, record_next, record_t
from kafkax._core.columns cimport column_t, columns_fill, columns_measure, columns_t, totals_t
from kafkax._core.message cimport TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message

from typing import NamedTuple

from kafkax.errors import ErrorCode, KafkaError


class Columns(NamedTuple):
    rows: int
    header_count: int
    null_keys: int
    null_values: int
    null_header_values: int
    offsets: bytes
    timestamps: bytes
    keys_valid: bytes
    keys_ends: bytes
    keys: bytes
    values_valid: bytes
    values_ends: bytes
    values: bytes
    headers_ends: bytes
    names_valid: bytes
    names_ends: bytes
    names: bytes
    header_values_valid: bytes
    header_values_ends: bytes
    header_values: bytes


cdef bytes room(int64_t size):
    return PyBytes_FromStringAndSize(NULL, size)


cdef object column(column_t *out, int32_t count, int64_t size, list buffers):
    """Buffers of a column of bytes: validity, ends, data."""
    valid, ends, data = bytes((count + 7) // 8), room(4 * (<int64_t>count + 1)), room(size)
    out.valid = <uint8_t *>PyBytes_AS_STRING(valid)
    out.ends = <int32_t *>PyBytes_AS_STRING(ends)
    out.data = <uint8_t *>PyBytes_AS_STRING(data)
    buffers += (valid, ends, data)


# Clearing one in a cycle would drop its buffer without giving it back.
@cython.no_gc_clear
cdef class FetchedBatch:

    def __init__(self, const uint8_t[::1] header not None, records, topic, int32_t partition, int64_t position):
        cdef batch_t batch
        cdef const uint8_t[::1] body = records
        if header.shape[0] < BATCH_HEADER:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{header.shape[0]} bytes are no record batch")
        batch_read(&header[0], &batch)
        if self._held:
            raise RuntimeError("a batch is made once")
        # What is held is the memory itself: a memoryview with an export complains when it is garbage in a cycle.
        PyObject_GetBuffer(records.obj if type(records) is memoryview else records, &self._view, PyBUF_SIMPLE)
        self._held = True
        self._at = &body[0] if body.shape[0] else NULL
        self._end = self._at + body.shape[0]
        self._left = batch.count
        self.topic = topic
        self.partition = partition
        self.base_offset = batch.base_offset
        self.next_offset = batch.last_offset + 1
        self.leader_epoch = batch.leader_epoch
        self.position = position
        self._base_timestamp = batch.base_timestamp
        self._timestamp_type = TIMESTAMP_CREATE_TIME
        self._append_time = -1
        if batch.attributes & ATTRIBUTE_LOG_APPEND_TIME:
            self._timestamp_type = TIMESTAMP_LOG_APPEND_TIME
            self._append_time = batch.max_timestamp

    def __dealloc__(self):
        if self._held:
            PyBuffer_Release(&self._view)

    cdef object _invalid(self):
        return KafkaError(
            ErrorCode.INVALID_RECORD,
            f"{self.topic}-{self.partition}: a record of the batch at offset {self.base_offset} does not fit it",
        )

    cdef int32_t _step(self, record_t *record) except -1:
        """Read the next record that is wanted; 0 at the end."""
        while self._left > 0:
            if record_next(&self._at, self._end, record):
                self._left = 0
                raise self._invalid()
            self._left -= 1
            if self.base_offset + record.offset_delta >= self.position:
                self.position = self.base_offset + record.offset_delta + 1
                self.given = True
                return 1
        if not self._dropped:
            self.position = max(self.position, self.next_offset)
            self.given = True
        return 0

    cdef Message _message(self, const record_t *record):
        cdef Message message = Message.over(self, self.topic, self.partition, record)
        message._offset = self.base_offset + record.offset_delta
        message._timestamp_type = self._timestamp_type
        if self._timestamp_type == TIMESTAMP_LOG_APPEND_TIME:
            message._timestamp = self._append_time
        else:
            message._timestamp = self._base_timestamp + record.timestamp_delta
            if message._timestamp < 0:
                message._timestamp_type = TIMESTAMP_NOT_AVAILABLE
        message._leader_epoch = self.leader_epoch
        return message

    def drop(self):
        self._dropped = True
        self._left = 0

    def next(self):
        cdef record_t record
        return self._message(&record) if self._step(&record) else None

    def take(self, int64_t count, list into not None):
        cdef record_t record
        cdef int64_t taken = 0
        while taken < count and self._step(&record):
            into.append(self._message(&record))
            taken += 1
        return taken

    def columns(self):
        cdef totals_t totals
        cdef columns_t out
        cdef const uint8_t *at = self._at
        cdef const uint8_t *end = self._end
        cdef int32_t left = self._left
        cdef int32_t code
        with nogil:
            code = columns_measure(at, end, left, self.base_offset, self.position, &totals)
        if code:
            self._left = 0
            raise self._invalid()
        buffers = [room(8 * <int64_t>totals.count), room(8 * <int64_t>totals.count)]
        out.offsets = <int64_t *>PyBytes_AS_STRING(buffers[0])
        out.timestamps = <int64_t *>PyBytes_AS_STRING(buffers[1])
        column(&out.keys, totals.count, totals.key_bytes, buffers)
        column(&out.values, totals.count, totals.value_bytes, buffers)
        ends = room(4 * (<int64_t>totals.count + 1))
        out.headers = <int32_t *>PyBytes_AS_STRING(ends)
        buffers.append(ends)
        column(&out.names, totals.headers, totals.name_bytes, buffers)
        column(&out.header_values, totals.headers, totals.header_bytes, buffers)
        with nogil:
            columns_fill(at, end, left, self.base_offset, self.position, self._base_timestamp, self._append_time, &out)
        if not self._dropped:
            self.position = max(self.position, self.next_offset)
            self.given = True
        self._left = 0
        return Columns(totals.count, totals.headers, totals.null_keys, totals.null_values, totals.null_headers, *buffers)
