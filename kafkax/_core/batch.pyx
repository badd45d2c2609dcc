"""Record batches of magic 2: header, checks, and records walked in place."""

from libc.limits cimport LLONG_MAX, LLONG_MIN
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from kafkax._core.codes cimport CORE_END, ERR_CORRUPT_MESSAGE, ERR_INVALID_RECORD, OK
from kafkax._core.crc32c cimport crc32c_update
from kafkax._core.cursor cimport (
    kx_be16, kx_be32, kx_be64, read_i8, read_varint, read_varlong, reader, reader_t, remaining, take,
)
from kafkax._core.runs cimport (
    AHEAD, RUN_DELTAS, __builtin_prefetch, kx_le64, ordered_delta, run_alike, run_same, run_t, shape_of, shape_t, stamp_order,
)

from typing import NamedTuple

from kafkax.errors import ErrorCode, KafkaError

cdef int64_t LOWEST = LLONG_MIN

cdef enum:
    # What Kafka's oldest message needs; a shorter length field is corrupt whatever follows.
    SMALLEST_LENGTH = 14
    NO_TIMESTAMP = -1
    SHORTEST_PLAIN = 8
    FEWEST_FOR_RUNS = 5
    # With fewer records of one size in a row, sizes may differ in the rest of a run.
    FEW_OF_A_SIZE = 8
    # Looking for a run costs as much as parsing a few records.
    SHORT_RUN = 32


cdef int64_t batch_size_at(const uint8_t *data, size_t size) noexcept nogil:
    cdef int64_t length
    if size < BATCH_OVERHEAD:
        return CORE_END
    length = <int32_t>kx_be32(data + AT_LENGTH)
    if length < SMALLEST_LENGTH:
        return -ERR_CORRUPT_MESSAGE
    if size < MAGIC_END:
        return CORE_END
    if data[AT_MAGIC] > 2:
        return -ERR_CORRUPT_MESSAGE
    if length + BATCH_OVERHEAD > <int64_t>size:
        return CORE_END
    return length + BATCH_OVERHEAD


cdef void batch_read(const uint8_t *data, batch_t *out) noexcept nogil:
    out.base_offset = <int64_t>kx_be64(data)
    out.size = <int32_t>(kx_be32(data + AT_LENGTH) + BATCH_OVERHEAD)
    out.leader_epoch = <int32_t>kx_be32(data + AT_LEADER_EPOCH)
    out.crc = kx_be32(data + AT_CRC)
    out.attributes = <int16_t>kx_be16(data + AT_ATTRIBUTES)
    out.last_offset_delta = <int32_t>kx_be32(data + AT_LAST_OFFSET_DELTA)
    out.base_timestamp = <int64_t>kx_be64(data + 27)
    out.max_timestamp = <int64_t>kx_be64(data + AT_MAX_TIMESTAMP)
    out.producer_id = <int64_t>kx_be64(data + 43)
    out.producer_epoch = <int16_t>kx_be16(data + 51)
    out.base_sequence = <int32_t>kx_be32(data + 53)
    out.count = <int32_t>kx_be32(data + 57)
    # Unsigned, since a hostile base offset must not overflow; a log refuses what is negative.
    out.last_offset = <int64_t>(<uint64_t>out.base_offset + <uint64_t>out.last_offset_delta)


cdef int32_t batch_check(const uint8_t *data, int64_t size, batch_t *out) noexcept nogil:
    if size < BATCH_HEADER or data[AT_MAGIC] != 2 or <int32_t>kx_be32(data + AT_LENGTH) != size - BATCH_OVERHEAD:
        return ERR_CORRUPT_MESSAGE
    batch_read(data, out)
    if crc32c_update(0, data + AT_ATTRIBUTES, size - AT_ATTRIBUTES) != out.crc:
        return ERR_CORRUPT_MESSAGE
    return OK


cdef int32_t skip_headers(reader_t *r, int32_t count) noexcept nogil:
    cdef int32_t size
    if count < 0 or <size_t>count > remaining(r):
        return ERR_INVALID_RECORD
    while count and not r.bad:
        take(r, read_varint(r))
        size = read_varint(r)
        if size >= 0:
            take(r, size)
        count -= 1
    return ERR_INVALID_RECORD if r.bad else OK


cdef inline const uint8_t *short_varint(const uint8_t *at, int64_t *value) noexcept nogil:
    """A zigzag varint of one or two bytes, both of which can be read; NULL when it is longer."""
    cdef uint32_t raw = at[0]
    if raw < 128:
        at += 1
    elif at[1] < 128:
        raw = (raw & 127) | <uint32_t>at[1] << 7
        at += 2
    else:
        return NULL
    value[0] = <int64_t>(raw >> 1) ^ -<int64_t>(raw & 1)
    return at


cdef inline bint plain_record(const uint8_t *at, const uint8_t *end, record_t *out) noexcept nogil:
    """Most records have short lengths and deltas and no headers: read one of those. False for any other, right or wrong.

    ``at`` moves only over what was found to lie before ``end``, with room for the two bytes of the next varint.
    """
    cdef int64_t size, value
    if end - at < SHORTEST_PLAIN:
        return False
    at = short_varint(at, &size)
    if at == NULL or size < SHORTEST_PLAIN or size > end - at:
        return False
    out.end = at + size
    # SHORTEST_PLAIN leaves room for attributes and three varints of two bytes.
    at = short_varint(at + 1, &out.timestamp_delta)
    if at == NULL:
        return False
    at = short_varint(at, &value)
    if at == NULL:
        return False
    out.offset_delta = <int32_t>value
    at = short_varint(at, &value)
    if at == NULL:
        return False
    out.key_size = <int32_t>value
    out.key = at if value >= 0 else NULL
    if value > 0:
        if value > out.end - at - 2:
            return False
        at += value
    if out.end - at < 2:
        return False
    at = short_varint(at, &value)
    if at == NULL or value < 0 or value != out.end - at - 1 or at[value] != 0:
        return False
    out.value_size = <int32_t>value
    out.value = at
    out.header_count = 0
    out.headers = out.end
    return True


cdef int32_t record_next(const uint8_t **at, const uint8_t *end, record_t *out) noexcept nogil:
    if plain_record(at[0], end, out):
        at[0] = out.end
        return OK
    return any_record(at, end, out)


cdef int32_t any_record(const uint8_t **at, const uint8_t *end, record_t *out) noexcept nogil:
    cdef reader_t r = reader(at[0], end - at[0])
    cdef int32_t size = read_varint(&r)
    if r.bad or size < 0 or <size_t>size > remaining(&r):
        return ERR_INVALID_RECORD
    r.end = r.at + size
    read_i8(&r)
    out.timestamp_delta = read_varlong(&r)
    out.offset_delta = read_varint(&r)
    out.key_size = read_varint(&r)
    out.key = take(&r, out.key_size) if out.key_size >= 0 else NULL
    out.value_size = read_varint(&r)
    out.value = take(&r, out.value_size) if out.value_size >= 0 else NULL
    out.header_count = read_varint(&r)
    out.headers = r.at
    out.end = r.end
    if r.bad:
        return ERR_INVALID_RECORD
    if out.header_count:
        if skip_headers(&r, out.header_count) != OK:
            return ERR_INVALID_RECORD
    if r.at != r.end:
        return ERR_INVALID_RECORD
    at[0] = r.end
    return OK


cdef void walk_begin(walk_t *walk) noexcept nogil:
    walk.max_timestamp = NO_TIMESTAMP
    walk.max_timestamp_offset_delta = 0
    walk.error_count = 0
    walk.error_kind = RECORD_ERROR_NONE


cdef inline int32_t account(const record_t *record, int32_t index, const batch_t *batch, const record_rules_t *rules,
                            walk_t *walk) noexcept nogil:
    """Account for the record at ``index`` of the batch; 0 or ERR_INVALID_RECORD."""
    cdef int64_t timestamp
    cdef int32_t kind = RECORD_ERROR_NONE
    if record.offset_delta != index:
        return ERR_INVALID_RECORD
    timestamp = <int64_t>(<uint64_t>batch.base_timestamp + <uint64_t>record.timestamp_delta)
    if timestamp > walk.max_timestamp:
        walk.max_timestamp = timestamp
        walk.max_timestamp_offset_delta = index
    if rules.need_key and record.key_size < 0:
        kind = RECORD_ERROR_NO_KEY
    elif rules.check_timestamp and timestamp != NO_TIMESTAMP and (
            timestamp < rules.min_timestamp or timestamp > rules.max_timestamp):
        kind = RECORD_ERROR_TIMESTAMP
    if kind != RECORD_ERROR_NONE:
        if walk.error_count < rules.room:
            rules.errors[walk.error_count].index = index
            rules.errors[walk.error_count].kind = kind
        # A timestamp error decides the code of the whole answer, wherever it stands.
        if walk.error_kind != RECORD_ERROR_TIMESTAMP:
            walk.error_kind = kind
        walk.error_count += 1
    return OK


cdef int32_t walk_step(const record_t *record, int32_t index, const batch_t *batch, const record_rules_t *rules,
                       walk_t *walk) noexcept nogil:
    return account(record, index, batch, rules, walk)


cdef inline bint runs_allowed(const batch_t *batch, const record_rules_t *rules) noexcept nogil:
    """Whether of a run's timestamps only the latest need be looked at: none is -1, too early, or outside 64 bits."""
    return RUN_DELTAS <= batch.base_timestamp <= LLONG_MAX - RUN_DELTAS and not (
        rules.check_timestamp and batch.base_timestamp - RUN_DELTAS < rules.min_timestamp)


cdef int64_t run_from(run_t *run, const uint8_t *before, const uint8_t *end, int32_t index, const batch_t *batch,
                      const record_rules_t *rules) noexcept nogil:
    cdef shape_t shape
    cdef int64_t timestamp
    cdef int32_t most
    run.count = 0
    run.latest = -1
    if not shape_of(before, &shape):
        return LLONG_MIN
    run.left = end - run.at
    run.head = kx_le64(before)
    run.order = stamp_order(&shape, run.head)
    most = min(shape.most, batch.count) - index
    run_same(run, &shape, run.at - before, most)
    if run.count < FEW_OF_A_SIZE:
        run_alike(run, &shape, most)
    timestamp = batch.base_timestamp + ordered_delta(&shape, run.order)
    if (rules.check_timestamp and timestamp > rules.max_timestamp) or (rules.need_key and shape.key_size < 0):
        run.count = -1
    return timestamp


cdef int32_t records_walk(const uint8_t *at, const uint8_t *end, const batch_t *batch, const record_rules_t *rules,
                          walk_t *out) noexcept nogil:
    # Neither leaves this function by reference in the loop of plain records, so that the compiler keeps both in registers.
    cdef record_t plain
    cdef walk_t walk
    cdef record_t record
    cdef run_t run
    cdef const uint8_t *before = at
    cdef int64_t timestamp
    cdef int32_t index = 0
    # Records until a run is looked for again: twice as many each time that none was worth it.
    cdef int32_t wait = 1
    cdef int32_t stop = 1 if batch.count >= FEWEST_FOR_RUNS and runs_allowed(batch, rules) else batch.count
    walk_begin(&walk)
    while True:
        while index < stop and plain_record(at, end, &plain):
            before = at
            at = plain.end
            # Where a record ends is known only once its size was read, so the processor can't look ahead by itself.
            __builtin_prefetch(at + AHEAD)
            if account(&plain, index, batch, rules, &walk) != OK:
                return ERR_INVALID_RECORD
            index += 1
        if index < stop or index >= batch.count:
            break
        run.at = at
        timestamp = run_from(&run, before, end, index, batch, rules)
        if run.count < 0:
            stop = batch.count
            continue
        if timestamp > walk.max_timestamp:
            walk.max_timestamp = timestamp
            walk.max_timestamp_offset_delta = index + run.latest
        at = run.at
        index += run.count
        wait = 1 if run.count >= SHORT_RUN else 2 * wait
        stop = min(index + wait, batch.count)
    out[0] = walk
    while index < batch.count:
        if record_next(&at, end, &record) != OK or account(&record, index, batch, rules, out) != OK:
            return ERR_INVALID_RECORD
        index += 1
    return OK if at == end else ERR_INVALID_RECORD


cdef int32_t batch_walk(const uint8_t *data, const batch_t *batch, const record_rules_t *rules, walk_t *out) noexcept nogil:
    return records_walk(data + BATCH_HEADER, data + batch.size, batch, rules, out)


class BatchHeader(NamedTuple):
    base_offset: int
    last_offset: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    size: int
    leader_epoch: int
    base_sequence: int
    count: int
    crc: int
    attributes: int
    producer_epoch: int


class Walk(NamedTuple):
    max_timestamp: int
    max_timestamp_index: int
    error_count: int
    error_kind: int
    errors: list


cdef int64_t check_first(const uint8_t[::1] data, batch_t *batch) except -1:
    """Size of the batch at the start of ``data``, checked; raises KafkaError."""
    cdef int64_t size = batch_size_at(&data[0], data.shape[0]) if data.shape[0] else CORE_END
    if size < 0 or batch_check(&data[0], size, batch) != OK:
        raise KafkaError(
            ErrorCode.CORRUPT_MESSAGE,
            f"{data.shape[0]} bytes do not begin with a whole batch of magic 2 with a right checksum",
        )
    return size


cdef int32_t make_rules(record_rules_t *rules, bint need_key, min_timestamp, max_timestamp) except -1:
    rules.need_key = need_key
    rules.check_timestamp = min_timestamp is not None or max_timestamp is not None
    rules.min_timestamp = LOWEST if min_timestamp is None else min_timestamp
    rules.max_timestamp = (1 << 63) - 1 if max_timestamp is None else max_timestamp
    rules.room = 0
    return 0


def read_header(const uint8_t[::1] data not None):
    cdef batch_t b
    check_first(data, &b)
    return BatchHeader(b.base_offset, b.last_offset, b.base_timestamp, b.max_timestamp, b.producer_id, b.size, b.leader_epoch,
                       b.base_sequence, b.count, b.crc, b.attributes, b.producer_epoch)


def end_of(const uint8_t[::1] data not None):
    cdef size_t size = <size_t>data.shape[0]
    cdef size_t at = 0
    cdef int64_t whole = 0
    cdef batch_t batch
    while at < size:
        whole = batch_size_at(&data[at], size - at)
        if whole < BATCH_HEADER or data[at + AT_MAGIC] != 2:
            break
        batch_read(&data[at], &batch)
        at += <size_t>whole
    return (batch.last_offset + 1, batch.leader_epoch) if at and (at == size or whole == CORE_END) else None


def validate_records(const uint8_t[::1] data not None, *, bint need_key=False, min_timestamp=None, max_timestamp=None,
                     int64_t limit=256 << 20):
    cdef batch_t batch
    cdef record_t record
    cdef record_rules_t rules
    cdef walk_t walk
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef int32_t index
    cdef bytes body
    cdef int64_t size = check_first(data, &batch)
    make_rules(&rules, need_key, min_timestamp, max_timestamp)
    at = &data[0] + BATCH_HEADER
    end = &data[0] + size
    if batch_compressed(&batch):
        # Imported late: that module builds on this one.
        from kafkax._core.inflate import decompress

        body = decompress(batch.attributes & CODEC_MASK, data[BATCH_HEADER:size], limit)
        at = body
        end = at + len(body)
    errors = []
    for index in range(batch.count):
        walk_begin(&walk)
        if record_next(&at, end, &record) != OK or walk_step(&record, index, &batch, &rules, &walk) != OK:
            raise KafkaError(ErrorCode.INVALID_RECORD, f"record {index} of {batch.count} does not parse")
        if walk.error_count:
            errors.append((index, "key" if walk.error_kind == RECORD_ERROR_NO_KEY else "timestamp"))
    if at != end:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"bytes follow the {batch.count} records that the batch declares")
    return errors


def walk(const uint8_t[::1] data not None, *, bint need_key=False, min_timestamp=None, max_timestamp=None, int32_t room=8):
    cdef batch_t batch
    cdef record_rules_t rules
    cdef walk_t walk
    cdef record_error_t[64] errors
    cdef int32_t index
    check_first(data, &batch)
    make_rules(&rules, need_key, min_timestamp, max_timestamp)
    rules.errors = errors
    rules.room = max(0, min(room, 64))
    if batch_compressed(&batch) or batch_walk(&data[0], &batch, &rules, &walk) != OK:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"{batch.count} records without compression do not fill the batch")
    named = [(errors[index].index, errors[index].kind) for index in range(min(walk.error_count, rules.room))]
    return Walk(walk.max_timestamp, walk.max_timestamp_offset_delta, walk.error_count, walk.error_kind, named)
