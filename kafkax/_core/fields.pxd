"""Reading and writing what stands in requests beyond plain numbers: strings, array counts, tagged fields, headers.

``flexible`` is whether the message's version has compact lengths and tagged fields (KIP-482)."""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t
from kafkax._core.cursor cimport (
    read_i16,
    read_i32,
    read_uvarint,
    reader_t,
    remaining,
    take,
    write_bytes,
    write_i16,
    write_i32,
    write_uvarint,
    writer_t,
)

cdef enum:
    MAX_STRING = 32767

cdef struct request_header_t:
    int16_t api_key
    int16_t version
    int32_t correlation_id
    bint flexible


cdef inline int32_t read_count(reader_t *r, bint flexible) noexcept nogil:
    """Elements of an array, -1 for null; an error when the rest could not even hold one byte of each."""
    cdef int32_t count = <int32_t>(read_uvarint(r) - 1) if flexible else read_i32(r)
    if count < -1 or (count > 0 and <size_t>count > remaining(r)):
        r.bad = 1
        return 0
    return count


cdef inline int32_t read_size(reader_t *r, bint flexible, bint wide) noexcept nogil:
    """Length of a string (``wide``: of bytes), -1 for null."""
    if flexible:
        return <int32_t>(read_uvarint(r) - 1)
    return read_i32(r) if wide else read_i16(r)


cdef inline int32_t read_data(reader_t *r, bint flexible, bint wide, const uint8_t **data) noexcept nogil:
    """A string (``wide``: bytes) in place; its length, -1 for null."""
    cdef int32_t size = read_size(r, flexible, wide)
    data[0] = NULL
    if size == -1:
        return -1
    if size > MAX_STRING and not wide:
        r.bad = 1
    data[0] = take(r, size)
    return 0 if r.bad else size


cdef inline bint is_ascii(const uint8_t *text, int32_t size) noexcept nogil:
    cdef uint8_t seen = 0
    cdef int32_t at
    for at in range(size):
        seen |= text[at]
    return seen < 0x80


cdef inline int32_t read_ascii(reader_t *r, bint flexible, const uint8_t **data) noexcept nogil:
    """A string that is ASCII, as names in Kafka are; its length, -1 for null.

    Other bytes are an error: whether they are text at all is the control plane's to say."""
    cdef int32_t size = read_data(r, flexible, False, data)
    if not is_ascii(data[0], size):
        r.bad = 1
    return size


cdef inline void skip_tags(reader_t *r) noexcept nogil:
    """A section of tagged fields none of which matters."""
    cdef uint32_t count = read_uvarint(r)
    while count and not r.bad:
        read_uvarint(r)
        take(r, read_uvarint(r))
        count -= 1


cdef inline request_header_t read_header(reader_t *r, int16_t flexible_since) noexcept nogil:
    """The request's header; ``flexible_since`` is the API's first flexible version."""
    cdef request_header_t header
    cdef const uint8_t *client_id
    header.api_key = read_i16(r)
    header.version = read_i16(r)
    header.correlation_id = read_i32(r)
    header.flexible = header.version >= flexible_since
    if read_data(r, False, False, &client_id) < -1:
        r.bad = 1
    if header.flexible:
        skip_tags(r)
    return header


cdef inline void write_count(writer_t *w, int32_t count, bint flexible) noexcept nogil:
    if flexible:
        write_uvarint(w, <uint32_t>count + 1)
    else:
        write_i32(w, count)


cdef inline void write_text(writer_t *w, const void *data, int32_t size, bint flexible) noexcept nogil:
    if flexible:
        write_uvarint(w, <uint32_t>size + 1)
    else:
        write_i16(w, <int16_t>size)
    write_bytes(w, data, <size_t>size)


cdef inline void write_no_text(writer_t *w, bint flexible) noexcept nogil:
    """A null string."""
    if flexible:
        write_uvarint(w, 0)
    else:
        write_i16(w, -1)


cdef inline void write_no_tags(writer_t *w, bint flexible) noexcept nogil:
    if flexible:
        write_uvarint(w, 0)
