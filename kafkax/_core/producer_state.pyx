"""What a log remembers of idempotent and transactional producers.

Rules (Kafka's): a batch of one of the last five with the same epoch and sequence range is a duplicate; a newer epoch begins
at sequence 0; within an epoch sequences follow without a gap and wrap to 0 after 2^31 - 1; a producer that is not known may
begin anywhere."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memmove, memset
from kafkax._core.batch cimport BATCH_HEADER, batch_t, batch_transactional, record_next, record_t
from kafkax._core.codes cimport (
    CORE_END, CORE_NO_MEMORY, ERR_CORRUPT_MESSAGE, ERR_INVALID_PRODUCER_EPOCH, ERR_INVALID_RECORD, ERR_INVALID_TXN_STATE,
    ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, ERR_TRANSACTION_COORDINATOR_FENCED, OK,
)
from kafkax._core.crc32c cimport crc32c_update
from kafkax._core.cursor cimport (
    kx_be16, kx_be32, kx_put16, kx_put32, read_i16, read_i32, read_i64, reader, reader_t, write_i16, write_i32, write_i64,
    writer, writer_t,
)

cdef enum:
    MAX_SEQUENCE = 0x7FFFFFFF
    NO_SEQUENCE = -1
    NO_EPOCH = -1
    SNAPSHOT_VERSION = 1
    SMALLEST_TABLE = 8


cdef producers_t *producers_new() noexcept nogil:
    return <producers_t *>calloc(1, sizeof(producers_t))


cdef void producers_clear(producers_t *producers) noexcept nogil:
    free(producers.slots)
    free(producers.txns)
    memset(producers, 0, sizeof(producers_t))


cdef void producers_free(producers_t *producers) noexcept nogil:
    if producers != NULL:
        producers_clear(producers)
        free(producers)


cdef inline uint64_t slot_of(producers_t *producers, int64_t producer_id) noexcept nogil:
    return ((<uint64_t>producer_id * <uint64_t>0x9E3779B97F4A7C15) >> 20) & <uint64_t>(producers.room - 1)


cdef producer_t *probe(producers_t *producers, int64_t producer_id) noexcept nogil:
    """The producer's slot, or the free one where it would go."""
    cdef uint64_t i = slot_of(producers, producer_id)
    while producers.slots[i].used and producers.slots[i].producer_id != producer_id:
        i = (i + 1) & <uint64_t>(producers.room - 1)
    return &producers.slots[i]


cdef producer_t *producers_find(producers_t *producers, int64_t producer_id) noexcept nogil:
    cdef producer_t *slot
    if producers.count == 0:
        return NULL
    slot = probe(producers, producer_id)
    return slot if slot.used else NULL


cdef int32_t resize(producers_t *producers, int64_t room) noexcept nogil:
    cdef producers_t grown = producers[0]
    cdef int64_t i
    grown.slots = <producer_t *>calloc(room, sizeof(producer_t))
    if grown.slots == NULL:
        return CORE_NO_MEMORY
    grown.room = room
    for i in range(producers.room):
        if producers.slots[i].used:
            probe(&grown, producers.slots[i].producer_id)[0] = producers.slots[i]
    free(producers.slots)
    producers[0] = grown
    return OK


cdef producer_t *entry_for(producers_t *producers, int64_t producer_id) noexcept nogil:
    """The producer's entry, made when it is new; NULL without memory."""
    cdef producer_t *slot
    if producers.count * 2 >= producers.room:
        if resize(producers, producers.room * 2 if producers.room else SMALLEST_TABLE) != OK:
            return NULL
    slot = probe(producers, producer_id)
    if not slot.used:
        memset(slot, 0, sizeof(producer_t))
        slot.used = 1
        slot.producer_id = producer_id
        slot.epoch = NO_EPOCH
        slot.coordinator_epoch = -1
        slot.txn_first_offset = -1
        slot.last_timestamp = -1
        producers.count += 1
    return slot


cdef inline int32_t sequence_after(int32_t sequence, int32_t by) noexcept nogil:
    """``by`` sequences on; 0 follows 2^31 - 1."""
    return <int32_t>((<uint32_t>sequence + <uint32_t>by) & MAX_SEQUENCE)


cdef inline int32_t last_sequence(const batch_t *batch) noexcept nogil:
    """A coordinator's transactional batches carry no sequence."""
    return NO_SEQUENCE if batch.base_sequence < 0 else sequence_after(batch.base_sequence, batch.last_offset_delta)


cdef inline int32_t first_sequence(const kept_batch_t *kept) noexcept nogil:
    return <int32_t>((<uint32_t>kept.last_sequence - <uint32_t>kept.offset_delta) & MAX_SEQUENCE)


cdef int32_t producers_check(producers_t *producers, const batch_t *batch, const kept_batch_t **original) noexcept nogil:
    cdef producer_t *known = producers_find(producers, batch.producer_id)
    cdef int32_t last
    cdef int32_t i
    if known == NULL:
        return OK
    last = sequence_after(batch.base_sequence, batch.last_offset_delta)
    if known.epoch == batch.producer_epoch:
        for i in range(known.batch_count):
            if known.batches[i].last_sequence == last and first_sequence(&known.batches[i]) == batch.base_sequence:
                original[0] = &known.batches[i]
                return CORE_END
    if batch.producer_epoch < known.epoch:
        return ERR_INVALID_PRODUCER_EPOCH
    if batch.producer_epoch != known.epoch:
        if batch.base_sequence != 0 and known.epoch != NO_EPOCH:
            return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER
    elif known.batch_count:
        if sequence_after(known.batches[known.batch_count - 1].last_sequence, 1) != batch.base_sequence:
            return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER
    elif batch.base_sequence != 0:
        # Known by an end marker only: its next batch begins the epoch.
        return ERR_OUT_OF_ORDER_SEQUENCE_NUMBER
    if known.txn_first_offset >= 0 and not batch_transactional(batch):
        return ERR_INVALID_TXN_STATE
    return OK


cdef int32_t producers_check_epoch(producers_t *producers, const batch_t *batch) noexcept nogil:
    cdef producer_t *known = producers_find(producers, batch.producer_id)
    if known == NULL:
        return OK
    if batch.producer_epoch < known.epoch:
        return ERR_INVALID_PRODUCER_EPOCH
    if known.txn_first_offset >= 0 and not batch_transactional(batch):
        return ERR_INVALID_TXN_STATE
    return OK


cdef int32_t producers_check_marker(producers_t *producers, const batch_t *batch, int32_t coordinator_epoch) noexcept nogil:
    cdef producer_t *known = producers_find(producers, batch.producer_id)
    if known == NULL:
        return OK
    if batch.producer_epoch < known.epoch:
        return ERR_INVALID_PRODUCER_EPOCH
    if coordinator_epoch < known.coordinator_epoch:
        return ERR_TRANSACTION_COORDINATOR_FENCED
    return OK


cdef int32_t begin_txn(producers_t *producers, int64_t producer_id, int64_t first_offset) noexcept nogil:
    cdef txn_t *grown
    cdef int32_t room
    cdef int32_t at = producers.txn_count
    if producers.txn_count == producers.txn_room:
        room = producers.txn_room * 2 if producers.txn_room else 4
        grown = <txn_t *>realloc(producers.txns, room * sizeof(txn_t))
        if grown == NULL:
            return CORE_NO_MEMORY
        producers.txns = grown
        producers.txn_room = room
    while at and producers.txns[at - 1].first_offset > first_offset:
        producers.txns[at] = producers.txns[at - 1]
        at -= 1
    producers.txns[at].producer_id = producer_id
    producers.txns[at].first_offset = first_offset
    producers.txns[at].last_offset = -1
    producers.txn_count += 1
    return OK


cdef void set_epoch(producer_t *producer, int16_t epoch) noexcept nogil:
    if producer.epoch != epoch:
        producer.epoch = epoch
        producer.batch_count = 0


cdef int32_t producers_append(producers_t *producers, const batch_t *batch) noexcept nogil:
    cdef producer_t *producer = entry_for(producers, batch.producer_id)
    cdef kept_batch_t *kept
    if producer == NULL:
        return CORE_NO_MEMORY
    set_epoch(producer, batch.producer_epoch)
    if producer.batch_count == KEPT_BATCHES:
        memmove(&producer.batches[0], &producer.batches[1], (KEPT_BATCHES - 1) * sizeof(kept_batch_t))
        producer.batch_count -= 1
    kept = &producer.batches[producer.batch_count]
    kept.last_sequence = last_sequence(batch)
    kept.offset_delta = batch.last_offset_delta
    kept.last_offset = batch.last_offset
    kept.timestamp = batch.max_timestamp
    producer.batch_count += 1
    producer.last_timestamp = batch.max_timestamp
    if batch_transactional(batch) and producer.txn_first_offset < 0:
        producer.txn_first_offset = batch.base_offset
        return begin_txn(producers, batch.producer_id, batch.base_offset)
    return OK


cdef int32_t marker_read(const uint8_t *data, const batch_t *batch, marker_t *out) noexcept nogil:
    cdef const uint8_t *at = data + BATCH_HEADER
    cdef record_t record
    cdef int32_t kind
    if record_next(&at, data + batch.size, &record) != OK or record.key_size < 4:
        return ERR_INVALID_RECORD
    kind = <int16_t>kx_be16(record.key + 2)
    if kind != 0 and kind != 1:
        return CORE_END
    if record.value_size < 6:
        return ERR_INVALID_RECORD
    out.aborted = kind == 0
    out.coordinator_epoch = <int32_t>kx_be32(record.value + 2)
    out.producer_id = batch.producer_id
    out.first_offset = -1
    out.last_offset = batch.last_offset
    return OK


cdef int32_t producers_end(producers_t *producers, const batch_t *batch, int32_t coordinator_epoch, bint abort,
                           marker_t *out) noexcept nogil:
    cdef producer_t *producer = entry_for(producers, batch.producer_id)
    cdef int32_t i
    if producer == NULL:
        return CORE_NO_MEMORY
    out.aborted = abort
    out.producer_id = batch.producer_id
    out.coordinator_epoch = coordinator_epoch
    out.first_offset = producer.txn_first_offset
    out.last_offset = batch.last_offset
    set_epoch(producer, batch.producer_epoch)
    producer.coordinator_epoch = coordinator_epoch
    producer.last_timestamp = batch.max_timestamp
    producer.txn_first_offset = -1
    for i in range(producers.txn_count):
        if producers.txns[i].producer_id == batch.producer_id and producers.txns[i].last_offset < 0:
            producers.txns[i].last_offset = batch.last_offset
    return OK


cdef int64_t producers_first_unstable(producers_t *producers) noexcept nogil:
    return producers.txns[0].first_offset if producers.txn_count else -1


cdef void producers_decide(producers_t *producers, int64_t high_watermark) noexcept nogil:
    cdef int32_t i
    cdef int32_t kept = 0
    for i in range(producers.txn_count):
        if producers.txns[i].last_offset < 0 or producers.txns[i].last_offset >= high_watermark:
            producers.txns[kept] = producers.txns[i]
            kept += 1
    producers.txn_count = kept


cdef int64_t producers_expire(producers_t *producers, int64_t now_ms, int64_t expiration_ms) noexcept nogil:
    cdef producers_t kept = producers[0]
    cdef producer_t *slot
    cdef int64_t expired
    cdef int64_t i
    kept.count = 0
    kept.slots = <producer_t *>calloc(producers.room, sizeof(producer_t)) if producers.room else NULL
    if kept.slots == NULL:
        return 0
    for i in range(producers.room):
        slot = &producers.slots[i]
        if slot.used and (slot.txn_first_offset >= 0 or now_ms - slot.last_timestamp < expiration_ms):
            probe(&kept, slot.producer_id)[0] = slot[0]
            kept.count += 1
    expired = producers.count - kept.count
    free(producers.slots)
    producers[0] = kept
    return expired


cdef int64_t producers_write(producers_t *producers, uint8_t **out) noexcept nogil:
    cdef int64_t size = SNAPSHOT_HEADER + producers.count * SNAPSHOT_ENTRY
    cdef uint8_t *data = <uint8_t *>malloc(size)
    cdef writer_t w
    cdef producer_t *slot
    cdef kept_batch_t *last
    cdef int64_t i
    if data == NULL:
        return CORE_NO_MEMORY
    w = writer(data + 6, size - 6)
    write_i32(&w, <int32_t>producers.count)
    for i in range(producers.room):
        slot = &producers.slots[i]
        if not slot.used:
            continue
        last = &slot.batches[slot.batch_count - 1] if slot.batch_count else NULL
        write_i64(&w, slot.producer_id)
        write_i16(&w, slot.epoch)
        write_i32(&w, last.last_sequence if last != NULL else NO_SEQUENCE)
        write_i64(&w, last.last_offset if last != NULL else -1)
        write_i32(&w, last.offset_delta if last != NULL else 0)
        write_i64(&w, slot.last_timestamp)
        write_i32(&w, slot.coordinator_epoch)
        write_i64(&w, slot.txn_first_offset)
    kx_put16(data, SNAPSHOT_VERSION)
    kx_put32(data + 2, crc32c_update(0, data + 6, size - 6))
    out[0] = data
    return size


cdef int32_t producers_put(producers_t *producers, const producer_t *entry) noexcept nogil:
    cdef producer_t *slot = entry_for(producers, entry.producer_id)
    if slot == NULL:
        return CORE_NO_MEMORY
    slot[0] = entry[0]
    slot.used = 1
    return begin_txn(producers, entry.producer_id, entry.txn_first_offset) if entry.txn_first_offset >= 0 else OK


cdef int32_t producers_read(producers_t *producers, const uint8_t *data, size_t size, int64_t now_ms,
                            int64_t expiration_ms) noexcept nogil:
    cdef reader_t r = reader(data, size)
    cdef producer_t entry
    cdef int32_t count
    cdef int32_t _entry
    producers_clear(producers)
    if size < SNAPSHOT_HEADER or read_i16(&r) != SNAPSHOT_VERSION:
        return ERR_CORRUPT_MESSAGE
    if <uint32_t>read_i32(&r) != crc32c_update(0, data + 6, size - 6):
        return ERR_CORRUPT_MESSAGE
    count = read_i32(&r)
    if count < 0 or <size_t>count * SNAPSHOT_ENTRY + SNAPSHOT_HEADER != size:
        return ERR_CORRUPT_MESSAGE
    for _entry in range(count):
        memset(&entry, 0, sizeof(entry))
        entry.producer_id = read_i64(&r)
        entry.epoch = read_i16(&r)
        entry.batches[0].last_sequence = read_i32(&r)
        entry.batches[0].last_offset = read_i64(&r)
        entry.batches[0].offset_delta = read_i32(&r)
        entry.last_timestamp = read_i64(&r)
        entry.batches[0].timestamp = entry.last_timestamp
        entry.coordinator_epoch = read_i32(&r)
        entry.txn_first_offset = read_i64(&r)
        entry.batch_count = 1 if entry.batches[0].last_offset >= 0 else 0
        if entry.txn_first_offset < 0 and now_ms - entry.last_timestamp >= expiration_ms:
            continue
        if producers_put(producers, &entry) != OK:
            return CORE_NO_MEMORY
    return OK
