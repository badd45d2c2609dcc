from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

cdef enum:
    API_PRODUCE = 0
    API_FETCH = 1
    ANSWER_MALFORMED = -2

# What the load generator needs to know of an answer that names at most one partition.
cdef struct answer_t:
    int32_t error            # the first Kafka error code in it
    int64_t records          # of a fetch: records in whole batches at and after the asked offset's batch
    int64_t size             # of a fetch: bytes of the record batches, a cut last one included
    int64_t next_offset      # of a fetch: the offset after the last whole batch, -1 without one

cdef int answer_parse(int16_t api, int16_t version, const uint8_t* frame, size_t size, answer_t* out) noexcept nogil
