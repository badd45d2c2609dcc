"""Answers as they mostly are, read without an object for every field: no errors, nothing unusual. The schema reads others."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from kafkax._core.cursor cimport read_i16, read_i32, read_i64, read_uvarint, reader, reader_t, remaining, take

cdef enum:
    TOPIC_ID = 16
    # Bytes that an entry of an array has at least.
    LEAST_PARTITION = 24


cdef inline int32_t count_of(reader_t *r, int32_t least) noexcept nogil:
    """Elements of an array, -1 for null; an error when what is left can't hold them."""
    cdef int64_t count = <int64_t>read_uvarint(r) - 1
    if count > 0 and <size_t>(count * least) > remaining(r):
        r.bad = 1
        return 0
    return <int32_t>count


cdef inline bint no_tags(reader_t *r) noexcept nogil:
    return read_uvarint(r) == 0 and not r.bad


cdef inline object topic_id(reader_t *r):
    cdef const uint8_t *at = take(r, TOPIC_ID)
    return None if at == NULL else <bytes>at[:TOPIC_ID]


def plain_fetch(const uint8_t[::1] frame not None):
    cdef reader_t r = reader(&frame[0], frame.shape[0])
    cdef int32_t session, topics, partitions, partition
    cdef int64_t size, high_watermark, stable, start
    cdef int64_t at
    read_i32(&r)
    if not no_tags(&r):
        return None
    read_i32(&r)
    if read_i16(&r) != 0:
        return None
    session = read_i32(&r)
    topics = count_of(&r, TOPIC_ID)
    found = []
    whole = memoryview(frame.base)
    for _ in range(topics):
        name = topic_id(&r)
        partitions = count_of(&r, LEAST_PARTITION)
        for _ in range(partitions):
            partition = read_i32(&r)
            if read_i16(&r) != 0:
                return None
            high_watermark, stable, start = read_i64(&r), read_i64(&r), read_i64(&r)
            # No aborted transactions, no other replica to read from.
            if <int32_t>read_uvarint(&r) > 1 or read_i32(&r) >= 0:
                return None
            size = <int64_t>read_uvarint(&r) - 1
            at = r.at - &frame[0]
            take(&r, max(size, 0))
            if not no_tags(&r):
                return None
            found.append((name, partition, high_watermark, stable, start, whole[at:at + size] if size > 0 else None))
        if not no_tags(&r):
            return None
    if not no_tags(&r) or remaining(&r):
        return None
    return session, found


def plain_produce(const uint8_t[::1] frame not None):
    cdef reader_t r = reader(&frame[0], frame.shape[0])
    cdef int32_t topics, partitions, partition
    cdef int64_t base_offset, append_time
    read_i32(&r)
    if not no_tags(&r):
        return None
    topics = count_of(&r, TOPIC_ID)
    found = []
    for _ in range(topics):
        name = topic_id(&r)
        partitions = count_of(&r, LEAST_PARTITION)
        for _ in range(partitions):
            partition = read_i32(&r)
            if read_i16(&r) != 0:
                return None
            base_offset, append_time = read_i64(&r), read_i64(&r)
            read_i64(&r)
            # No errors of single records, no message.
            if <int32_t>read_uvarint(&r) > 1 or read_uvarint(&r) > 0 or not no_tags(&r):
                return None
            found.append((name, partition, base_offset, append_time))
        if not no_tags(&r):
            return None
    read_i32(&r)
    if not no_tags(&r) or remaining(&r):
        return None
    return found
