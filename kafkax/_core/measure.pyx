"""Loops over the data plane's own entry points, for benchmarks."""

import os

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from kafkax._core.append cimport append_result_release
from kafkax._core.batch cimport batch_check, batch_t, batch_walk, record_rules_t, walk_t
from kafkax._core.codes cimport OK
from kafkax._core.files cimport write_all
from kafkax._core.logstate cimport READ_LOG_END, append_result_t, read_result_release, read_result_t
from kafkax._core.partition cimport Partition, partition_append, partition_read

from kafkax.errors import ErrorCode, KafkaError


cdef double now() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return at.tv_sec + at.tv_nsec * 1e-9


def append_seconds(Partition partition not None, const uint8_t[::1] records not None, int64_t times):
    cdef append_result_t result
    cdef const uint8_t *data = &records[0]
    cdef size_t size = records.shape[0]
    cdef int32_t code = OK
    cdef double begin
    cdef double end
    with nogil:
        begin = now()
        while times > 0 and code == OK:
            code = partition_append(partition.partition, data, size, 1, 13, -1, False, &result)
            times -= 1
        end = now()
    if code != OK:
        append_result_release(&result)
        raise KafkaError(ErrorCode(code) if code > 0 else ErrorCode.UNKNOWN_SERVER_ERROR, f"append answered {code}")
    return end - begin


def walk_seconds(const uint8_t[::1] records not None, int64_t times):
    cdef const uint8_t *data = &records[0]
    cdef int64_t size = records.shape[0]
    cdef batch_t batch
    cdef record_rules_t rules
    cdef walk_t walk
    cdef int32_t code = batch_check(data, size, &batch)
    cdef double begin
    cdef double end
    rules.need_key = False
    rules.check_timestamp = True
    rules.min_timestamp = 0
    rules.max_timestamp = batch.max_timestamp
    rules.room = 0
    with nogil:
        begin = now()
        while times > 0 and code == OK:
            code = batch_walk(data, &batch, &rules, &walk)
            times -= 1
        end = now()
    if code != OK:
        raise KafkaError(ErrorCode(code), f"{size} bytes are not one whole batch without compression")
    return end - begin


def floor_seconds(str path not None, const uint8_t[::1] records not None, int64_t times):
    cdef const uint8_t *data = &records[0]
    cdef size_t size = records.shape[0]
    cdef batch_t batch
    cdef int64_t at = 0
    cdef int32_t code = OK
    cdef double begin
    cdef double end
    cdef int32_t fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with nogil:
        begin = now()
        while times > 0 and code == OK:
            code = batch_check(data, <int64_t>size, &batch)
            if code == OK:
                code = write_all(fd, data, 61, data + 61, size - 61, at)
            at += size
            times -= 1
        end = now()
    os.close(fd)
    if code != OK:
        raise OSError(code, f"{path} cannot be written, or the batch is corrupt")
    return end - begin


def read_seconds(Partition partition not None, offsets not None, int64_t max_bytes):
    cdef read_result_t result
    cdef int64_t count = len(offsets)
    cdef int64_t *at = <int64_t *>malloc((count + 1) * sizeof(int64_t))
    cdef int64_t i
    cdef int32_t code = OK
    cdef double begin
    cdef double end
    if at == NULL:
        raise MemoryError
    for i in range(count):
        at[i] = offsets[i]
    with nogil:
        begin = now()
        for i in range(count):
            if code == OK:
                code = partition_read(partition.partition, at[i], -1, max_bytes, True, READ_LOG_END, True, &result)
                read_result_release(&result)
        end = now()
    free(at)
    if code != OK:
        raise KafkaError(ErrorCode(code), f"read answered {code}")
    return end - begin
