"""A record batch that grows record by record, for those who write to internal topics."""

from libc.stdint cimport int32_t, int64_t, uint8_t


cdef class BatchWriter:
    cdef uint8_t *data
    cdef size_t room
    cdef readonly Py_ssize_t size
    cdef readonly int32_t count

    # Add a record whose key and value the caller writes: the place of the key; ``value`` is set to that of the value.
    # ``value_size`` -1: no value. Raises ValueError, MemoryError.
    cdef uint8_t *record(self, int64_t key_size, int64_t value_size, uint8_t **value) except NULL
