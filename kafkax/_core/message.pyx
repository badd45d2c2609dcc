"""A record as clients see it: fields in place, Python objects only for what is asked for."""

cimport cython
from cpython.object cimport PyObject
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, uint8_t

from kafkax._core.batch cimport record_t
from kafkax._core.cursor cimport read_varint, reader, reader_t, take


cdef extern from "Python.h":
    void PyObject_GC_UnTrack(PyObject *thing)
    void PyObject_GC_Track(PyObject *thing)
    int PyObject_GC_IsTracked(PyObject *thing)


cdef object block(const uint8_t *data, int32_t size):
    if size < 0:
        return None
    return PyBytes_FromStringAndSize(<const char *>data, size)


@cython.freelist(1024)
cdef class Message:

    @staticmethod
    cdef Message over(object owner, object topic, int32_t partition, const record_t *record):
        cdef Message message = Message.__new__(Message)
        message._owner = owner
        message._topic = topic
        message._partition = partition
        message._record = record[0]
        message._leader_epoch = -1
        message._latency = -1
        # It leads to memory and texts, never back to what holds it: the collector need not look at it, unless it gets an error.
        PyObject_GC_UnTrack(<PyObject *>message)
        return message

    cdef object fail(self, object error):
        """Give it the error that its record met with."""
        self._error = error
        if not PyObject_GC_IsTracked(<PyObject *>self):
            PyObject_GC_Track(<PyObject *>self)

    cdef object _change(self, str field, object value):
        """Put a caller's object in the place of a field."""
        if self._changed is None:
            self._changed = {}
            if not PyObject_GC_IsTracked(<PyObject *>self):
                PyObject_GC_Track(<PyObject *>self)
        self._changed[field] = value

    @staticmethod
    def failure(str topic, int32_t partition, offset, error):
        cdef Message message = Message.__new__(Message)
        message._topic = topic
        message._partition = partition
        message._offset = offset
        message._error = error
        message._record.key_size = -1
        message._record.value_size = -1
        message._timestamp = -1
        message._leader_epoch = -1
        message._latency = -1
        return message

    def topic(self):
        return self._topic

    def partition(self):
        return self._partition

    def offset(self):
        return self._offset if self._offset >= 0 else None

    def key(self):
        if self._changed is not None and "key" in self._changed:
            return self._changed["key"]
        return block(self._record.key, self._record.key_size)

    def value(self):
        if self._changed is not None and "value" in self._changed:
            return self._changed["value"]
        return block(self._record.value, self._record.value_size)

    def headers(self):
        cdef reader_t r
        cdef int32_t size
        cdef const uint8_t *at
        if self._changed is not None and "headers" in self._changed:
            return self._changed["headers"]
        if self._record.header_count <= 0:
            return None
        r = reader(self._record.headers, self._record.end - self._record.headers)
        found = []
        for _ in range(self._record.header_count):
            size = read_varint(&r)
            at = take(&r, size)
            name = block(at, -1 if at == NULL else size)
            size = read_varint(&r)
            at = NULL if size < 0 else take(&r, size)
            if r.bad or name is None:
                raise ValueError(f"headers of {self!r} do not fit their record")
            found.append((name.decode("utf-8", "surrogateescape"), block(at, size)))
        return found

    def timestamp(self):
        return (self._timestamp_type, self._timestamp)

    def error(self):
        return self._error

    def leader_epoch(self):
        return self._leader_epoch if self._leader_epoch >= 0 else None

    def latency(self):
        return self._latency if self._latency >= 0 and self._error is None else None

    def set_topic(self, str value not None):
        self._change("topic", value)
        self._topic = value

    def set_key(self, value):
        self._change("key", value)

    def set_value(self, value):
        self._change("value", value)

    def set_headers(self, value):
        self._change("headers", value)

    def set_error(self, value):
        self._change("error", value)
        self._error = value

    def __len__(self):
        if self._changed is not None and "value" in self._changed:
            value = self._changed["value"]
            return 0 if value is None else len(value)
        return max(self._record.value_size, 0)

    def __bool__(self):
        return True

    def __repr__(self):
        error = "" if self._error is None else f", error={self._error!r}"
        return f"Message({self._topic!r}, partition={self._partition}, offset={self._offset}, {len(self)} bytes{error})"
