"""Batches that a consumer fetched: decoded record by record when they are touched."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from kafkax._core.batch cimport ATTRIBUTE_LOG_APPEND_TIME, BATCH_HEADER, batch_read, batch_t, record_next, record_t
from kafkax._core.message cimport TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message

from kafkax.errors import ErrorCode, KafkaError


cdef struct column_t:
    uint8_t *valid
    int32_t *ends
    uint8_t *data
    int32_t size


cdef inline void put(column_t *column, int32_t index, const uint8_t *data, int32_t size) noexcept nogil:
    if size >= 0:
        column.valid[index >> 3] |= <uint8_t>(1 << (index & 7))
        memcpy(column.data + column.size, data, size)
        column.size += size
    column.ends[index + 1] = column.size


cdef class FetchedBatch:

    def __init__(self, const uint8_t[::1] header not None, records, topic, int32_t partition, int64_t position):
        cdef batch_t batch
        if header.shape[0] < BATCH_HEADER:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{header.shape[0]} bytes are no record batch")
        batch_read(&header[0], &batch)
        PyObject_GetBuffer(records, &self._view, PyBUF_SIMPLE)
        self._held = True
        self._at = <const uint8_t *>self._view.buf
        self._end = self._at + self._view.len
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

    cdef int32_t _step(self, record_t *record) except -1:
        """Read the next record that is wanted; 0 at the end."""
        while self._left > 0:
            if record_next(&self._at, self._end, record):
                self._left = 0
                raise KafkaError(
                    ErrorCode.INVALID_RECORD,
                    f"{self.topic}-{self.partition}: a record of the batch at offset {self.base_offset} does not fit it",
                )
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
        cdef record_t record
        cdef const uint8_t *start = self._at
        cdef int32_t left = self._left
        cdef int64_t position = self.position
        cdef int64_t key_bytes = 0
        cdef int64_t value_bytes = 0
        cdef int32_t count = 0
        cdef int32_t index
        cdef column_t keys
        cdef column_t values
        cdef int64_t *offsets
        cdef int64_t *timestamps
        while self._step(&record):
            count += 1
            key_bytes += max(record.key_size, 0)
            value_bytes += max(record.value_size, 0)
        self._at, self._left, self.position = start, left, position
        bits = (count + 7) // 8
        sizes = (8 * count, 8 * count, bits, 4 * (count + 1), key_bytes, bits, 4 * (count + 1), value_bytes)
        buffers = [PyBytes_FromStringAndSize(NULL, size) for size in sizes]
        offsets = <int64_t *>PyBytes_AS_STRING(buffers[0])
        timestamps = <int64_t *>PyBytes_AS_STRING(buffers[1])
        keys.valid, keys.ends = <uint8_t *>PyBytes_AS_STRING(buffers[2]), <int32_t *>PyBytes_AS_STRING(buffers[3])
        keys.data, keys.size = <uint8_t *>PyBytes_AS_STRING(buffers[4]), 0
        values.valid, values.ends = <uint8_t *>PyBytes_AS_STRING(buffers[5]), <int32_t *>PyBytes_AS_STRING(buffers[6])
        values.data, values.size = <uint8_t *>PyBytes_AS_STRING(buffers[7]), 0
        memset(keys.valid, 0, bits)
        memset(values.valid, 0, bits)
        keys.ends[0] = values.ends[0] = 0
        for index in range(count):
            self._step(&record)
            offsets[index] = self.base_offset + record.offset_delta
            timestamps[index] = self._base_timestamp + record.timestamp_delta
            if self._append_time >= 0:
                timestamps[index] = self._append_time
            put(&keys, index, record.key, record.key_size)
            put(&values, index, record.value, record.value_size)
        self.position = max(self.position, self.next_offset)
        self._left = 0
        return (count, *buffers)
