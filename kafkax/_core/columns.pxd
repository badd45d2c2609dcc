"""Records of a batch laid out in columns, as Arrow keeps them: validity bits, 32-bit offsets, bytes end to end."""

from libc.stdint cimport int32_t, int64_t, uint8_t

# What a batch's records take in columns.
cdef struct totals_t:
    int64_t key_bytes
    int64_t value_bytes
    int64_t name_bytes
    int64_t header_bytes
    int32_t count
    int32_t null_keys
    int32_t null_values
    int32_t headers
    int32_t null_headers

# A column of bytes to be filled: ``ends`` has one entry more than there are fields, ``valid`` is zeroed by the caller.
cdef struct column_t:
    uint8_t *valid
    int32_t *ends
    uint8_t *data

cdef struct columns_t:
    int64_t *offsets
    int64_t *timestamps
    column_t keys
    column_t values
    # Where each record's headers end among all headers; one entry more than there are records.
    int32_t *headers
    column_t names
    column_t header_values

# Add up what the records from ``position`` on take, among ``left`` records; 0 or ERR_INVALID_RECORD.
cdef int32_t columns_measure(const uint8_t *at, const uint8_t *end, int32_t left, int64_t base_offset, int64_t position,
                             totals_t *out) noexcept nogil

# Write what ``columns_measure`` found room for. ``append_time`` is every record's timestamp unless it is negative.
cdef int32_t columns_fill(const uint8_t *at, const uint8_t *end, int32_t left, int64_t base_offset, int64_t position,
                          int64_t base_timestamp, int64_t append_time, const columns_t *out) noexcept nogil
