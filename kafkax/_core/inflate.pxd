"""Decompression of record batches without the GIL: streamed, bounded, never trusting a size that the data claims.

zlib, zstd and lz4 are the system's shared libraries, opened at the first use; where one is missing the batch goes to the
control plane (CORE_HANDOFF). Snappy, raw and in the framing of xerial (snappy-java), is decoded here."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from kafkax._core.batch cimport batch_t, record_rules_t, record_t, walk_t

cdef struct inflater_t:
    # In the list of those kept for the next batch.
    inflater_t *next
    int32_t codec
    int32_t ended
    int32_t framed
    int64_t limit
    int64_t produced
    # Compressed bytes not yet taken.
    const uint8_t *input
    const uint8_t *input_end
    # Decompressed bytes that wait to be taken: ``at`` to ``have`` of ``room``.
    uint8_t *buffer
    int64_t at
    int64_t have
    int64_t room
    # The library's state for each codec, by codec id.
    void *states[5]

# Whether this machine can decompress the codec here.
cdef bint inflate_available(int32_t codec) noexcept nogil

# Begin to decompress; 0, CORE_HANDOFF (no library, unknown codec) or CORE_NO_MEMORY. End it by ``inflate_end``.
cdef int32_t inflate_begin(int32_t codec, const uint8_t *data, size_t size, int64_t limit, inflater_t **out) noexcept nogil
cdef void inflate_end(inflater_t *inflater) noexcept nogil

# Decompress some more behind ``have``: 0, CORE_END, ERR_CORRUPT_MESSAGE, ERR_MESSAGE_TOO_LARGE, CORE_NO_MEMORY.
cdef int32_t inflate_more(inflater_t *inflater) noexcept nogil

# The next record of the stream, in place until the next call: as above, and ERR_INVALID_RECORD.
cdef int32_t inflate_record(inflater_t *inflater, record_t *out) noexcept nogil

# ``batch_walk`` of a compressed batch: 0, ERR_INVALID_RECORD, or one of the codes above.
cdef int32_t inflate_walk(const uint8_t *data, const batch_t *batch, const record_rules_t *rules, int64_t limit,
                          walk_t *out) noexcept nogil
