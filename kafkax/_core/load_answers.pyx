"""What the load generator reads of an answer: its error code and, of a fetch, how far it came.

Of Produce (3 to 13) and Fetch (4 to 18) the one partition asked for is read; answers to other requests only count.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t

from kafkax._core.cursor cimport read_i16, read_i32, read_i64, read_uvarint, reader, reader_t, take

from kafkax.errors import ProtocolError

cdef enum:
    # Offsets inside a record batch (v2), and how much of it precedes the records.
    BATCH_LAST_OFFSET_DELTA = 23
    BATCH_RECORD_COUNT = 57
    BATCH_HEADER = 61
    BATCH_LENGTH_END = 12


cdef inline int64_t read_count(reader_t* r, bint compact) noexcept nogil:
    """The length of an array, a string or bytes; -1 for null."""
    if compact:
        return <int64_t>read_uvarint(r) - 1
    return read_i32(r)


cdef inline void skip_tags(reader_t* r) noexcept nogil:
    cdef int64_t tags = read_uvarint(r)
    while tags > 0 and not r.bad:
        read_uvarint(r)
        take(r, read_uvarint(r))
        tags -= 1


cdef inline void skip_topic(reader_t* r, bint compact, bint by_id) noexcept nogil:
    cdef int64_t size
    if by_id:
        take(r, 16)
        return
    size = read_count(r, True) if compact else read_i16(r)
    if size > 0:
        take(r, size)


cdef void parse_produce(reader_t* r, int16_t version, answer_t* out) noexcept nogil:
    cdef bint compact = version >= 9
    if compact:
        skip_tags(r)
    if read_count(r, compact) < 1:
        return
    skip_topic(r, compact, version >= 13)
    if read_count(r, compact) < 1:
        return
    read_i32(r)
    out.error = read_i16(r)


cdef void scan_batches(const uint8_t* records, int64_t size, answer_t* out) noexcept nogil:
    """Add up the whole batches in ``records``; the broker may cut the last one."""
    cdef reader_t r
    cdef int64_t length, base
    while size >= BATCH_HEADER:
        r = reader(records, <size_t>size)
        base = read_i64(&r)
        length = read_i32(&r)
        if length < BATCH_HEADER - BATCH_LENGTH_END or length > size - BATCH_LENGTH_END:
            return
        r.at = records + BATCH_LAST_OFFSET_DELTA
        out.next_offset = base + read_i32(&r) + 1
        r.at = records + BATCH_RECORD_COUNT
        out.records += read_i32(&r)
        records += BATCH_LENGTH_END + length
        size -= BATCH_LENGTH_END + length


cdef void parse_fetch(reader_t* r, int16_t version, answer_t* out) noexcept nogil:
    cdef bint compact = version >= 12
    cdef int64_t aborted, size
    cdef const uint8_t* records
    if compact:
        skip_tags(r)
    read_i32(r)
    if version >= 7:
        out.error = read_i16(r)
        read_i32(r)
    if read_count(r, compact) < 1:
        return
    skip_topic(r, compact, version >= 13)
    if read_count(r, compact) < 1:
        return
    read_i32(r)
    out.error = read_i16(r)
    take(r, 24 if version >= 5 else 16)
    aborted = read_count(r, compact)
    while aborted > 0 and not r.bad:
        take(r, 16)
        if compact:
            skip_tags(r)
        aborted -= 1
    if version >= 11:
        read_i32(r)
    size = read_count(r, compact)
    records = take(r, size) if size > 0 else NULL
    if records != NULL:
        out.size = size
        scan_batches(records, size, out)


cdef int answer_parse(int16_t api, int16_t version, const uint8_t* frame, size_t size, answer_t* out) noexcept nogil:
    """Read ``frame``, an answer after its correlation id; returns 0 or ANSWER_MALFORMED."""
    cdef reader_t r = reader(frame, size)
    out.error, out.records, out.size, out.next_offset = 0, 0, 0, -1
    if api == API_PRODUCE:
        parse_produce(&r, version, out)
    elif api == API_FETCH:
        parse_fetch(&r, version, out)
    return ANSWER_MALFORMED if r.bad else 0


def parse_answer(int16_t api, int16_t version, const uint8_t[::1] frame not None):
    cdef answer_t answer
    if frame.shape[0] == 0 or answer_parse(api, version, &frame[0], <size_t>frame.shape[0], &answer) < 0:
        raise ProtocolError(f"the answer to API {api} version {version} ends before its fields do")
    return answer.error, answer.records, answer.size, answer.next_offset
