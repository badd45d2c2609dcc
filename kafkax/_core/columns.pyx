"""Records of a batch laid out in columns, as Arrow keeps them."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from kafkax._core.batch cimport record_next, record_t
from kafkax._core.codes cimport ERR_INVALID_RECORD, OK
from kafkax._core.cursor cimport read_varint, reader, reader_t, take


cdef inline void put(const column_t *column, int32_t index, const uint8_t *data, int32_t size) noexcept nogil:
    cdef int32_t end = column.ends[index]
    if size >= 0:
        column.valid[index >> 3] |= <uint8_t>(1 << (index & 7))
        memcpy(column.data + end, data, size)
        end += size
    column.ends[index + 1] = end


cdef inline int64_t plus(int64_t a, int64_t b) noexcept nogil:
    """A sum that wraps: what is added up may be hostile."""
    return <int64_t>(<uint64_t>a + <uint64_t>b)


cdef int32_t measure_headers(const record_t *record, totals_t *out) noexcept nogil:
    cdef reader_t r = reader(record.headers, record.end - record.headers)
    cdef int32_t size
    for _ in range(record.header_count):
        size = read_varint(&r)
        take(&r, size)
        out.name_bytes += size
        size = read_varint(&r)
        if size >= 0:
            take(&r, size)
            out.header_bytes += size
        else:
            out.null_headers += 1
        if r.bad:
            return ERR_INVALID_RECORD
    out.headers += record.header_count
    return OK


cdef void put_headers(const record_t *record, int32_t first, const columns_t *out) noexcept nogil:
    cdef reader_t r = reader(record.headers, record.end - record.headers)
    cdef const uint8_t *at
    cdef int32_t index
    cdef int32_t size
    for index in range(first, first + record.header_count):
        size = read_varint(&r)
        at = take(&r, size)
        put(&out.names, index, at, size)
        size = read_varint(&r)
        at = NULL
        if size >= 0:
            at = take(&r, size)
        put(&out.header_values, index, at, size)


cdef int32_t columns_measure(const uint8_t *at, const uint8_t *end, int32_t left, int64_t base_offset, int64_t position,
                             totals_t *out) noexcept nogil:
    cdef record_t record
    memset(out, 0, sizeof(totals_t))
    while left > 0:
        if record_next(&at, end, &record) != OK:
            return ERR_INVALID_RECORD
        left -= 1
        if plus(base_offset, record.offset_delta) < position:
            continue
        out.count += 1
        if record.key_size >= 0:
            out.key_bytes += record.key_size
        else:
            out.null_keys += 1
        if record.value_size >= 0:
            out.value_bytes += record.value_size
        else:
            out.null_values += 1
        if record.header_count and measure_headers(&record, out) != OK:
            return ERR_INVALID_RECORD
    return OK


cdef int32_t columns_fill(const uint8_t *at, const uint8_t *end, int32_t left, int64_t base_offset, int64_t position,
                          int64_t base_timestamp, int64_t append_time, const columns_t *out) noexcept nogil:
    cdef record_t record
    cdef int32_t index = 0
    out.keys.ends[0] = out.values.ends[0] = out.headers[0] = out.names.ends[0] = out.header_values.ends[0] = 0
    while left > 0:
        if record_next(&at, end, &record) != OK:
            return ERR_INVALID_RECORD
        left -= 1
        if plus(base_offset, record.offset_delta) < position:
            continue
        out.offsets[index] = plus(base_offset, record.offset_delta)
        out.timestamps[index] = plus(base_timestamp, record.timestamp_delta) if append_time < 0 else append_time
        put(&out.keys, index, record.key, record.key_size)
        put(&out.values, index, record.value, record.value_size)
        out.headers[index + 1] = out.headers[index]
        if record.header_count:
            put_headers(&record, out.headers[index], out)
            out.headers[index + 1] += record.header_count
        index += 1
    return OK
