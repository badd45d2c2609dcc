"""What a Produce answer says of records for which a batch was refused (KIP-467)."""

from libc.stdint cimport int32_t
from kafkax._core.batch cimport record_error_t
from kafkax._core.cursor cimport writer_t

cdef enum:
    # Records that are named for one batch: what a list of them may take is bounded, whatever is inside compressed batches.
    MOST_RECORD_ERRORS = 10000

# What an answer's ``record_errors`` and ``error_message`` may take at most; ``count`` is 0 for any other answer.
cdef size_t record_errors_bound(int32_t count) noexcept nogil

# Write these two fields of a partition's answer, version 8 and later.
cdef void record_errors_write(writer_t *w, const record_error_t *errors, int32_t count, bint flexible) noexcept nogil
