"""Record batches of magic 2: the header, the checks that a leader and a follower make, and walking records in place.

Nothing is allocated and nothing is copied; a batch is a pointer and a size, and every step is checked against both."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t
from kafkax._core.runs cimport run_t

cdef enum:
    # Base offset and length, which the length does not count.
    BATCH_OVERHEAD = 12
    BATCH_HEADER = 61
    MAGIC_END = 17
    AT_LENGTH = 8
    AT_LEADER_EPOCH = 12
    AT_MAGIC = 16
    AT_CRC = 17
    AT_ATTRIBUTES = 21
    AT_LAST_OFFSET_DELTA = 23
    AT_MAX_TIMESTAMP = 35

    CODEC_MASK = 7
    ATTRIBUTE_LOG_APPEND_TIME = 8
    ATTRIBUTE_TRANSACTIONAL = 16
    ATTRIBUTE_CONTROL = 32
    ATTRIBUTE_DELETE_HORIZON = 64

    RECORD_ERROR_NONE = 0
    # A record without a key on a compacted topic.
    RECORD_ERROR_NO_KEY = 1
    # A timestamp outside message.timestamp.before/after.max.ms.
    RECORD_ERROR_TIMESTAMP = 2

cdef struct batch_t:
    int64_t base_offset
    int64_t last_offset
    int64_t base_timestamp
    int64_t max_timestamp
    int64_t producer_id
    # Bytes of the whole batch.
    int32_t size
    int32_t leader_epoch
    int32_t last_offset_delta
    int32_t base_sequence
    int32_t count
    uint32_t crc
    int16_t attributes
    int16_t producer_epoch

cdef struct record_error_t:
    # A record that breaks ``record_rules_t``: its index in the batch, and ``RECORD_ERROR_*``.
    int32_t index
    int32_t kind

cdef struct record_rules_t:
    # The topic is compacted.
    bint need_key
    # CreateTime with bounds.
    bint check_timestamp
    int64_t min_timestamp
    int64_t max_timestamp
    # Where the first ``room`` records that break a rule are noted.
    record_error_t *errors
    int32_t room

    # What a walk over a batch's records found.
cdef struct walk_t:
    int64_t max_timestamp
    int64_t max_timestamp_offset_delta
    # Records that break ``record_rules_t``, and what decides the code of the whole answer.
    int32_t error_count
    int32_t error_kind

    # A record in place.
cdef struct record_t:
    int64_t timestamp_delta
    int32_t offset_delta
    # -1: null
    int32_t key_size
    int32_t value_size
    int32_t header_count
    const uint8_t *key
    const uint8_t *value
    const uint8_t *headers
    const uint8_t *end

# Size of the batch that starts here, from its first 17 bytes: CORE_END when ``size`` does not hold the whole batch,
# ERR_CORRUPT_MESSAGE as a negative number when the length is too small or the magic unknown. Any magic 0 to 2.
cdef int64_t batch_size_at(const uint8_t *data, size_t size) noexcept nogil

# Header of a batch of magic 2 of at least 61 bytes.
cdef void batch_read(const uint8_t *data, batch_t *out) noexcept nogil

# A whole batch of magic 2 as any log must hold it: size, checksum; 0 or ERR_CORRUPT_MESSAGE.
cdef int32_t batch_check(const uint8_t *data, int64_t size, batch_t *out) noexcept nogil

# Walk the records of an uncompressed batch; 0 or ERR_INVALID_RECORD when they do not fill the batch exactly as Kafka
# demands (lengths, varints, header counts, offset deltas 0..n-1). Broken rules are counted in ``out``, not returned.
cdef int32_t batch_walk(const uint8_t *data, const batch_t *batch, const record_rules_t *rules, walk_t *out) noexcept nogil

# The same over the records alone, as they stand after decompression.
cdef int32_t records_walk(const uint8_t *at, const uint8_t *end, const batch_t *batch, const record_rules_t *rules,
                          walk_t *out) noexcept nogil

# Find the records from ``run.at`` on that are like the plain one ``before``, which ends there; the latest timestamp of them all.
# ``index``: of the first of them. Their number is -1 when one of them may break a rule. Declared here so that the compiler
# doesn't make it one with the walk, whose registers it would take: a tenth of the time where records are parsed.
cdef int64_t run_from(run_t *run, const uint8_t *before, const uint8_t *end, int32_t index, const batch_t *batch,
                      const record_rules_t *rules) noexcept nogil

# Read one record and move ``at`` behind it; 0 or ERR_INVALID_RECORD.
cdef int32_t record_next(const uint8_t **at, const uint8_t *end, record_t *out) noexcept nogil

# Begin a walk, and account for the record at ``index`` of the batch; 0 or ERR_INVALID_RECORD.
cdef void walk_begin(walk_t *walk) noexcept nogil
cdef int32_t walk_step(const record_t *record, int32_t index, const batch_t *batch, const record_rules_t *rules,
                       walk_t *walk) noexcept nogil

cdef inline bint batch_compressed(const batch_t *batch) noexcept nogil:
    return batch.attributes & CODEC_MASK != 0


cdef inline bint batch_control(const batch_t *batch) noexcept nogil:
    return batch.attributes & ATTRIBUTE_CONTROL != 0


cdef inline bint batch_transactional(const batch_t *batch) noexcept nogil:
    return batch.attributes & ATTRIBUTE_TRANSACTIONAL != 0
