"""Decompression of record batches without the GIL."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove
from kafkax._core.atomics cimport kx_load32, kx_store32
from kafkax._core.batch cimport BATCH_HEADER, CODEC_MASK, record_next, walk_begin, walk_step
from kafkax._core.codes cimport (
    CORE_END, CORE_HANDOFF, CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE, ERR_INVALID_RECORD, ERR_MESSAGE_TOO_LARGE, OK,
)
from kafkax._core.cursor cimport kx_be32, read_uvarint, read_varint, reader, reader_t
from kafkax._core.pthreads cimport pthread_mutex_init, pthread_mutex_lock, pthread_mutex_t, pthread_mutex_unlock

from kafkax.errors import ErrorCode, KafkaError

cdef extern from "<dlfcn.h>" nogil:
    enum:
        RTLD_NOW
        RTLD_LOCAL
    void *dlopen(const char *name, int flags) noexcept
    void *dlsym(void *library, const char *name) noexcept

cdef enum:
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4

    WINDOW = 65536
    XERIAL_HEADER = 16
    # No element of raw snappy makes more of a byte: a copy of 64 takes 3.
    SNAPPY_RATIO = 22

    Z_STREAM_END = 1
    Z_OK = 0
    GZIP_WINDOW_BITS = 31
    LZ4F_VERSION = 100
    ZSTD_WINDOW_LOG_MAX = 100
    # zstd's own default. What a header claims is address space only: memory comes with bytes produced, which are bounded.
    LARGEST_WINDOW_LOG = 27
    ZSTD_RESET_SESSION = 1

# The libraries' own types, as their stable binary interfaces lay them out.
cdef struct z_stream:
    const uint8_t *next_in
    unsigned int avail_in
    unsigned long total_in
    uint8_t *next_out
    unsigned int avail_out
    unsigned long total_out
    const char *message
    void *state
    void *allocate
    void *release
    void *opaque
    int data_type
    unsigned long check
    unsigned long reserved

cdef struct zstd_in:
    const void *data
    size_t size
    size_t at

cdef struct zstd_out:
    void *data
    size_t size
    size_t at

ctypedef int (*z_init_t)(z_stream *, int, const char *, int) noexcept nogil
ctypedef int (*z_run_t)(z_stream *, int) noexcept nogil
ctypedef int (*z_reset_t)(z_stream *) noexcept nogil
ctypedef void *(*zstd_new_t)() noexcept nogil
ctypedef size_t (*zstd_run_t)(void *, zstd_out *, zstd_in *) noexcept nogil
ctypedef size_t (*zstd_reset_t)(void *, int) noexcept nogil
ctypedef size_t (*zstd_set_t)(void *, int, int) noexcept nogil
ctypedef unsigned int (*is_error_t)(size_t) noexcept nogil
ctypedef size_t (*lz4_new_t)(void **, unsigned int) noexcept nogil
ctypedef size_t (*lz4_run_t)(void *, void *, size_t *, const void *, size_t *, const void *) noexcept nogil
ctypedef void (*lz4_reset_t)(void *) noexcept nogil

cdef struct libraries_t:
    int32_t opened
    bint have[5]
    z_init_t z_init
    z_run_t z_run
    z_reset_t z_reset
    zstd_new_t zstd_new
    zstd_run_t zstd_run
    zstd_reset_t zstd_reset
    zstd_set_t zstd_set
    is_error_t zstd_is_error
    lz4_new_t lz4_new
    lz4_run_t lz4_run
    lz4_reset_t lz4_reset
    is_error_t lz4_is_error

cdef libraries_t libraries
cdef pthread_mutex_t lock
cdef inflater_t *kept = NULL
pthread_mutex_init(&lock, NULL)


cdef void open_zlib() noexcept nogil:
    cdef void *library = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL)
    if library == NULL:
        return
    libraries.z_init = <z_init_t>dlsym(library, "inflateInit2_")
    libraries.z_run = <z_run_t>dlsym(library, "inflate")
    libraries.z_reset = <z_reset_t>dlsym(library, "inflateReset")
    libraries.have[GZIP] = libraries.z_init != NULL and libraries.z_run != NULL and libraries.z_reset != NULL


cdef void open_lz4() noexcept nogil:
    cdef void *library = dlopen("liblz4.so.1", RTLD_NOW | RTLD_LOCAL)
    if library == NULL:
        return
    libraries.lz4_new = <lz4_new_t>dlsym(library, "LZ4F_createDecompressionContext")
    libraries.lz4_run = <lz4_run_t>dlsym(library, "LZ4F_decompress")
    libraries.lz4_reset = <lz4_reset_t>dlsym(library, "LZ4F_resetDecompressionContext")
    libraries.lz4_is_error = <is_error_t>dlsym(library, "LZ4F_isError")
    libraries.have[LZ4] = (libraries.lz4_new != NULL and libraries.lz4_run != NULL and libraries.lz4_reset != NULL
                           and libraries.lz4_is_error != NULL)


cdef void open_zstd() noexcept nogil:
    cdef void *library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL)
    if library == NULL:
        return
    libraries.zstd_new = <zstd_new_t>dlsym(library, "ZSTD_createDStream")
    libraries.zstd_run = <zstd_run_t>dlsym(library, "ZSTD_decompressStream")
    libraries.zstd_reset = <zstd_reset_t>dlsym(library, "ZSTD_DCtx_reset")
    libraries.zstd_set = <zstd_set_t>dlsym(library, "ZSTD_DCtx_setParameter")
    libraries.zstd_is_error = <is_error_t>dlsym(library, "ZSTD_isError")
    libraries.have[ZSTD] = (libraries.zstd_new != NULL and libraries.zstd_run != NULL and libraries.zstd_reset != NULL
                            and libraries.zstd_set != NULL
                            and libraries.zstd_is_error != NULL)


cdef bint inflate_available(int32_t codec) noexcept nogil:
    if codec < GZIP or codec > ZSTD:
        return False
    if not kx_load32(&libraries.opened):
        pthread_mutex_lock(&lock)
        if not libraries.opened:
            libraries.have[SNAPPY] = True
            open_zlib()
            open_lz4()
            open_zstd()
            kx_store32(&libraries.opened, 1)
        pthread_mutex_unlock(&lock)
    return libraries.have[codec]


cdef inflater_t *take_inflater() noexcept nogil:
    cdef inflater_t *inflater
    pthread_mutex_lock(&lock)
    global kept
    inflater = kept
    if inflater != NULL:
        kept = inflater.next
    pthread_mutex_unlock(&lock)
    if inflater != NULL:
        return inflater
    inflater = <inflater_t *>calloc(1, sizeof(inflater_t))
    if inflater != NULL:
        inflater.buffer = <uint8_t *>malloc(WINDOW)
        inflater.room = WINDOW
        if inflater.buffer == NULL:
            free(inflater)
            inflater = NULL
    return inflater


cdef bint prepare_state(inflater_t *inflater) noexcept nogil:
    """Have the library's state for the codec ready for a new stream; False without memory."""
    cdef void **state = &inflater.states[inflater.codec]
    if inflater.codec == GZIP:
        if state[0] != NULL:
            return libraries.z_reset(<z_stream *>state[0]) == Z_OK
        state[0] = calloc(1, sizeof(z_stream))
        if state[0] != NULL and libraries.z_init(<z_stream *>state[0], GZIP_WINDOW_BITS, "1.2.11", sizeof(z_stream)) != Z_OK:
            free(state[0])
            state[0] = NULL
    elif inflater.codec == LZ4:
        if state[0] != NULL:
            libraries.lz4_reset(state[0])
        elif libraries.lz4_is_error(libraries.lz4_new(state, LZ4F_VERSION)):
            state[0] = NULL
    elif inflater.codec == ZSTD:
        if state[0] != NULL:
            libraries.zstd_reset(state[0], ZSTD_RESET_SESSION)
        else:
            state[0] = libraries.zstd_new()
            if state[0] != NULL:
                libraries.zstd_set(state[0], ZSTD_WINDOW_LOG_MAX, LARGEST_WINDOW_LOG)
    return inflater.codec == SNAPPY or state[0] != NULL


cdef bint is_xerial(const uint8_t *data, size_t size) noexcept nogil:
    return size >= XERIAL_HEADER and memcmp(data, b"\x82SNAPPY\x00", 8) == 0


cdef int32_t inflate_begin(int32_t codec, const uint8_t *data, size_t size, int64_t limit, inflater_t **out) noexcept nogil:
    cdef inflater_t *inflater
    if not inflate_available(codec):
        return CORE_HANDOFF
    inflater = take_inflater()
    if inflater == NULL:
        return CORE_NO_MEMORY
    inflater.next = NULL
    inflater.codec = codec
    inflater.ended = 0
    inflater.limit = limit
    inflater.produced = 0
    inflater.at = 0
    inflater.have = 0
    inflater.input = data
    inflater.input_end = data + size
    inflater.framed = codec == SNAPPY and is_xerial(data, size)
    if inflater.framed:
        inflater.input += XERIAL_HEADER
    if not prepare_state(inflater):
        inflate_end(inflater)
        return CORE_NO_MEMORY
    out[0] = inflater
    return OK


cdef void inflate_end(inflater_t *inflater) noexcept nogil:
    """Kept for the next batch, of which no more exist than ever ran at once; a grown window is given back."""
    global kept
    cdef uint8_t *shrunk
    if inflater.room > WINDOW:
        shrunk = <uint8_t *>realloc(inflater.buffer, WINDOW)
        if shrunk != NULL:
            inflater.buffer = shrunk
            inflater.room = WINDOW
    inflater.input = NULL
    inflater.input_end = NULL
    pthread_mutex_lock(&lock)
    inflater.next = kept
    kept = inflater
    pthread_mutex_unlock(&lock)


cdef bint make_room(inflater_t *inflater, int64_t need) noexcept nogil:
    """Have ``need`` bytes free behind ``have``; False without memory."""
    cdef uint8_t *grown
    cdef int64_t room
    if inflater.at:
        memmove(inflater.buffer, inflater.buffer + inflater.at, inflater.have - inflater.at)
        inflater.have -= inflater.at
        inflater.at = 0
    if inflater.room - inflater.have >= need:
        return True
    room = inflater.room * 2
    while room - inflater.have < need:
        room *= 2
    grown = <uint8_t *>realloc(inflater.buffer, room)
    if grown == NULL:
        return False
    inflater.buffer = grown
    inflater.room = room
    return True


cdef int32_t step_gzip(inflater_t *inflater) noexcept nogil:
    cdef z_stream *stream = <z_stream *>inflater.states[GZIP]
    cdef int64_t left = inflater.input_end - inflater.input
    cdef int64_t room = inflater.room - inflater.have
    cdef int code
    stream.next_in = inflater.input
    stream.avail_in = <unsigned int>left
    stream.next_out = inflater.buffer + inflater.have
    stream.avail_out = <unsigned int>room
    code = libraries.z_run(stream, 0)
    inflater.input += left - stream.avail_in
    inflater.have += room - stream.avail_out
    if code == Z_STREAM_END:
        if inflater.input == inflater.input_end:
            inflater.ended = 1
        else:
            # Another member may follow, as gzip allows.
            libraries.z_reset(stream)
        return OK
    return OK if code == Z_OK else ERR_CORRUPT_MESSAGE


cdef int32_t step_zstd(inflater_t *inflater) noexcept nogil:
    cdef zstd_in source
    cdef zstd_out target
    cdef size_t code
    source.data = inflater.input
    source.size = inflater.input_end - inflater.input
    source.at = 0
    target.data = inflater.buffer + inflater.have
    target.size = inflater.room - inflater.have
    target.at = 0
    code = libraries.zstd_run(inflater.states[ZSTD], &target, &source)
    if libraries.zstd_is_error(code):
        return ERR_CORRUPT_MESSAGE
    inflater.input += source.at
    inflater.have += target.at
    if code == 0 and inflater.input == inflater.input_end:
        inflater.ended = 1
    return OK if inflater.ended or source.at or target.at else ERR_CORRUPT_MESSAGE


cdef int32_t step_lz4(inflater_t *inflater) noexcept nogil:
    cdef size_t taken = inflater.input_end - inflater.input
    cdef size_t made = inflater.room - inflater.have
    cdef size_t code = libraries.lz4_run(inflater.states[LZ4], inflater.buffer + inflater.have, &made, inflater.input, &taken,
                                         NULL)
    if libraries.lz4_is_error(code):
        return ERR_CORRUPT_MESSAGE
    inflater.input += taken
    inflater.have += made
    if code == 0:
        inflater.ended = 1
    return OK if inflater.ended or taken or made else ERR_CORRUPT_MESSAGE


cdef int64_t snappy_copy(const uint8_t *at, int64_t left, uint32_t *length, uint32_t *back) noexcept nogil:
    """Read a copy element: the bytes that it takes, 0 when it is cut off."""
    cdef uint32_t tag = at[0]
    if tag & 3 == 1:
        if left < 2:
            return 0
        length[0] = ((tag >> 2) & 7) + 4
        back[0] = ((tag >> 5) << 8) | at[1]
        return 2
    length[0] = (tag >> 2) + 1
    if tag & 3 == 2:
        if left < 3:
            return 0
        back[0] = at[1] | <uint32_t>at[2] << 8
        return 3
    if left < 5:
        return 0
    back[0] = at[1] | <uint32_t>at[2] << 8 | <uint32_t>at[3] << 16 | <uint32_t>at[4] << 24
    return 5


cdef int64_t snappy_literal(const uint8_t *at, int64_t left, int64_t *length) noexcept nogil:
    """Read a literal's tag and length: the bytes that they take, 0 when they are cut off."""
    cdef int64_t extra = (at[0] >> 2) - 59
    cdef int64_t i
    length[0] = (at[0] >> 2) + 1
    if extra <= 0:
        return 1
    if left < 1 + extra:
        return 0
    length[0] = 0
    for i in range(extra):
        length[0] |= <int64_t>at[1 + i] << (8 * i)
    length[0] += 1
    return 1 + extra


cdef int32_t snappy_block(const uint8_t *at, const uint8_t *end, uint8_t *out, int64_t size) noexcept nogil:
    """Decode a block's elements into exactly ``size`` bytes; 0 or ERR_CORRUPT_MESSAGE."""
    cdef int64_t made = 0
    cdef int64_t used
    cdef int64_t length
    cdef uint32_t copied = 0
    cdef uint32_t back = 0
    cdef uint32_t i
    while at < end:
        if at[0] & 3 == 0:
            used = snappy_literal(at, end - at, &length)
            if used == 0 or length > end - at - used or length > size - made:
                return ERR_CORRUPT_MESSAGE
            memcpy(out + made, at + used, length)
            at += used + length
            made += length
            continue
        used = snappy_copy(at, end - at, &copied, &back)
        if used == 0 or back == 0 or back > made or copied > size - made:
            return ERR_CORRUPT_MESSAGE
        if back >= copied:
            memcpy(out + made, out + made - back, copied)
        else:
            # Source and target overlap: the pattern repeats.
            for i in range(copied):
                out[made + i] = out[made + i - back]
        made += copied
        at += used
    return OK if made == size else ERR_CORRUPT_MESSAGE


cdef int32_t step_snappy(inflater_t *inflater) noexcept nogil:
    """One block: the next chunk of the xerial framing, or everything."""
    cdef int64_t left = inflater.input_end - inflater.input
    cdef int64_t chunk = left
    cdef int64_t size
    cdef int32_t code
    cdef reader_t r
    if inflater.framed:
        if left == 0:
            inflater.ended = 1
            return OK
        if left < 4:
            return ERR_CORRUPT_MESSAGE
        chunk = kx_be32(inflater.input)
        inflater.input += 4
        if chunk > left - 4:
            return ERR_CORRUPT_MESSAGE
    r = reader(inflater.input, chunk)
    size = read_uvarint(&r)
    if r.bad or size > (r.end - r.at) * SNAPPY_RATIO:
        return ERR_CORRUPT_MESSAGE
    if size > inflater.limit - inflater.produced:
        return ERR_MESSAGE_TOO_LARGE
    if not make_room(inflater, size):
        return CORE_NO_MEMORY
    code = snappy_block(r.at, r.end, inflater.buffer + inflater.have, size)
    inflater.have += size if code == OK else 0
    inflater.input += chunk
    if not inflater.framed:
        inflater.ended = 1
    return code


cdef int32_t inflate_more(inflater_t *inflater) noexcept nogil:
    cdef int64_t before
    cdef int32_t code
    if inflater.ended:
        return CORE_END
    # The window grows only with what was really produced, and that is bounded.
    if inflater.room - inflater.have < WINDOW // 4 and not make_room(inflater, WINDOW // 4):
        return CORE_NO_MEMORY
    before = inflater.have - inflater.at
    if inflater.codec == GZIP:
        code = step_gzip(inflater)
    elif inflater.codec == ZSTD:
        code = step_zstd(inflater)
    elif inflater.codec == LZ4:
        code = step_lz4(inflater)
    else:
        code = step_snappy(inflater)
    if code != OK:
        return code
    inflater.produced += inflater.have - inflater.at - before
    return ERR_MESSAGE_TOO_LARGE if inflater.produced > inflater.limit else OK


cdef int64_t record_span(const uint8_t *at, int64_t have) noexcept nogil:
    """Bytes of the record that begins here, its length included: -1 while that is not known, -2 when it cannot be."""
    cdef reader_t r = reader(at, have)
    cdef int32_t size = read_varint(&r)
    if r.bad:
        return -2 if have >= 5 else -1
    return -2 if size < 0 else (r.at - at) + <int64_t>size


cdef int32_t inflate_record(inflater_t *inflater, record_t *out) noexcept nogil:
    cdef const uint8_t *at
    cdef int64_t have
    cdef int64_t span
    cdef int32_t code
    while True:
        at = inflater.buffer + inflater.at
        have = inflater.have - inflater.at
        span = record_span(at, have)
        if span == -2:
            return ERR_INVALID_RECORD
        if 0 <= span <= have:
            inflater.at += span
            return record_next(&at, at + span, out)
        code = inflate_more(inflater)
        if code == CORE_END:
            return CORE_END if have == 0 else ERR_INVALID_RECORD
        if code != OK:
            return code


cdef int32_t inflate_walk(const uint8_t *data, const batch_t *batch, const record_rules_t *rules, int64_t limit,
                          walk_t *out) noexcept nogil:
    cdef inflater_t *inflater
    cdef record_t record
    cdef int32_t index
    cdef int32_t code = inflate_begin(batch.attributes & CODEC_MASK, data + BATCH_HEADER, batch.size - BATCH_HEADER, limit,
                                      &inflater)
    if code != OK:
        return code
    walk_begin(out)
    for index in range(batch.count):
        code = inflate_record(inflater, &record)
        if code == OK:
            code = walk_step(&record, index, batch, rules, out)
        if code != OK:
            break
    if code == OK:
        code = inflate_record(inflater, &record)
        code = OK if code == CORE_END else ERR_INVALID_RECORD if code == OK else code
    elif code == CORE_END:
        code = ERR_INVALID_RECORD
    inflate_end(inflater)
    return code


def available(int32_t codec):
    return inflate_available(codec)


def decompress(int32_t codec, const uint8_t[::1] data not None, int64_t limit):
    cdef inflater_t *inflater
    cdef const uint8_t *at = &data[0] if data.shape[0] else NULL
    cdef int32_t code = inflate_begin(codec, at, data.shape[0], limit, &inflater)
    if code == CORE_HANDOFF:
        raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"codec {codec} is unknown, or its library is not installed")
    if code != OK:
        raise MemoryError
    parts = []
    while code == OK:
        with nogil:
            code = inflate_more(inflater)
        parts.append(inflater.buffer[inflater.at : inflater.have])
        inflater.at = inflater.have
    inflate_end(inflater)
    if code == CORE_NO_MEMORY:
        raise MemoryError
    if code != CORE_END:
        raise KafkaError(ErrorCode(code), f"{data.shape[0]} bytes of codec {codec} do not decompress within {limit} bytes")
    return b"".join(parts)
