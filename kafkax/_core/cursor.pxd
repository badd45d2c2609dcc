"""Bounds-checked big-endian reading and writing of Kafka's primitive types.

A reader or writer holds the range that it may touch and a sticky error: after the first step outside the range
every step yields 0 and moves nothing, so that a parse checks ``bad`` once at its end (before it trusts a length).
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    static inline uint16_t kx_be16(const void *at) { uint16_t v; __builtin_memcpy(&v, at, 2); return __builtin_bswap16(v); }
    static inline uint32_t kx_be32(const void *at) { uint32_t v; __builtin_memcpy(&v, at, 4); return __builtin_bswap32(v); }
    static inline uint64_t kx_be64(const void *at) { uint64_t v; __builtin_memcpy(&v, at, 8); return __builtin_bswap64(v); }
    static inline void kx_put16(void *at, uint16_t v) { v = __builtin_bswap16(v); __builtin_memcpy(at, &v, 2); }
    static inline void kx_put32(void *at, uint32_t v) { v = __builtin_bswap32(v); __builtin_memcpy(at, &v, 4); }
    static inline void kx_put64(void *at, uint64_t v) { v = __builtin_bswap64(v); __builtin_memcpy(at, &v, 8); }
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "kafkax runs on little-endian machines (x86-64, arm64)"
    #endif
    """
    uint16_t kx_be16(const void *at) noexcept nogil
    uint32_t kx_be32(const void *at) noexcept nogil
    uint64_t kx_be64(const void *at) noexcept nogil
    void kx_put16(void *at, uint16_t value) noexcept nogil
    void kx_put32(void *at, uint32_t value) noexcept nogil
    void kx_put64(void *at, uint64_t value) noexcept nogil

cdef struct reader_t:
    const uint8_t *at
    const uint8_t *end
    int32_t bad

cdef struct writer_t:
    uint8_t *at
    uint8_t *end
    int32_t bad


cdef inline reader_t reader(const uint8_t *data, size_t size) noexcept nogil:
    cdef reader_t r
    r.at = data
    r.end = data + size
    r.bad = 0
    return r


cdef inline size_t remaining(reader_t *r) noexcept nogil:
    return <size_t>(r.end - r.at)


cdef inline const uint8_t *take(reader_t *r, int64_t size) noexcept nogil:
    """The next ``size`` bytes in place; NULL and a sticky error when fewer are left or ``size`` is negative."""
    cdef const uint8_t *at = r.at
    if r.bad or size < 0 or size > r.end - at:
        r.bad = 1
        return NULL
    r.at = at + size
    return at


cdef inline int8_t read_i8(reader_t *r) noexcept nogil:
    cdef const uint8_t *at = take(r, 1)
    return 0 if at == NULL else <int8_t>at[0]


cdef inline int16_t read_i16(reader_t *r) noexcept nogil:
    cdef const uint8_t *at = take(r, 2)
    return 0 if at == NULL else <int16_t>kx_be16(at)


cdef inline int32_t read_i32(reader_t *r) noexcept nogil:
    cdef const uint8_t *at = take(r, 4)
    return 0 if at == NULL else <int32_t>kx_be32(at)


cdef inline int64_t read_i64(reader_t *r) noexcept nogil:
    cdef const uint8_t *at = take(r, 8)
    return 0 if at == NULL else <int64_t>kx_be64(at)


cdef inline uint32_t read_uvarint(reader_t *r) noexcept nogil:
    """Unsigned varint of at most 5 bytes whose value fits into 32 bits."""
    cdef uint32_t value = 0
    cdef uint32_t byte
    cdef int32_t shift = 0
    while not r.bad and r.at < r.end:
        byte = r.at[0]
        r.at += 1
        if shift == 28 and byte > 15:
            break
        value |= (byte & 127) << shift
        if byte < 128:
            return value
        shift += 7
    r.bad = 1
    return 0


cdef inline uint64_t read_uvarlong(reader_t *r) noexcept nogil:
    """Unsigned varint of at most 10 bytes whose value fits into 64 bits."""
    cdef uint64_t value = 0
    cdef uint64_t byte
    cdef int32_t shift = 0
    while not r.bad and r.at < r.end:
        byte = r.at[0]
        r.at += 1
        if shift == 63 and byte > 1:
            break
        value |= (byte & 127) << shift
        if byte < 128:
            return value
        shift += 7
    r.bad = 1
    return 0


cdef inline int32_t read_varint(reader_t *r) noexcept nogil:
    """Zigzag varint."""
    cdef uint32_t value = read_uvarint(r)
    return <int32_t>((value >> 1) ^ (0 - (value & 1)))


cdef inline int64_t read_varlong(reader_t *r) noexcept nogil:
    """Zigzag varlong."""
    cdef uint64_t value = read_uvarlong(r)
    return <int64_t>((value >> 1) ^ (0 - (value & 1)))


cdef inline writer_t writer(uint8_t *data, size_t size) noexcept nogil:
    cdef writer_t w
    w.at = data
    w.end = data + size
    w.bad = 0
    return w


cdef inline uint8_t *give(writer_t *w, int64_t size) noexcept nogil:
    """Room for the next ``size`` bytes; NULL and a sticky error when less is left."""
    cdef uint8_t *at = w.at
    if w.bad or size < 0 or size > w.end - at:
        w.bad = 1
        return NULL
    w.at = at + size
    return at


cdef inline void write_i8(writer_t *w, int8_t value) noexcept nogil:
    cdef uint8_t *at = give(w, 1)
    if at != NULL:
        at[0] = <uint8_t>value


cdef inline void write_i16(writer_t *w, int16_t value) noexcept nogil:
    cdef uint8_t *at = give(w, 2)
    if at != NULL:
        kx_put16(at, <uint16_t>value)


cdef inline void write_i32(writer_t *w, int32_t value) noexcept nogil:
    cdef uint8_t *at = give(w, 4)
    if at != NULL:
        kx_put32(at, <uint32_t>value)


cdef inline void write_i64(writer_t *w, int64_t value) noexcept nogil:
    cdef uint8_t *at = give(w, 8)
    if at != NULL:
        kx_put64(at, <uint64_t>value)


cdef inline void write_bytes(writer_t *w, const void *data, size_t size) noexcept nogil:
    cdef uint8_t *at = give(w, <int64_t>size)
    if at != NULL and size:
        memcpy(at, data, size)


cdef inline void write_uvarint(writer_t *w, uint32_t value) noexcept nogil:
    while value >= 128:
        write_i8(w, <int8_t>(value | 128))
        value >>= 7
    write_i8(w, <int8_t>value)


cdef inline void write_uvarlong(writer_t *w, uint64_t value) noexcept nogil:
    while value >= 128:
        write_i8(w, <int8_t>(value | 128))
        value >>= 7
    write_i8(w, <int8_t>value)


cdef inline void write_varint(writer_t *w, int32_t value) noexcept nogil:
    write_uvarint(w, (<uint32_t>value << 1) ^ <uint32_t>(value >> 31))


cdef inline void write_varlong(writer_t *w, int64_t value) noexcept nogil:
    write_uvarlong(w, (<uint64_t>value << 1) ^ <uint64_t>(value >> 63))
