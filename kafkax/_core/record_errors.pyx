"""The texts are the broker's own; which records are named, and in which order, is as in Kafka."""

from libc.stdint cimport int32_t
from libc.string cimport strlen
from kafkax._core.batch cimport RECORD_ERROR_NO_KEY, RECORD_ERROR_TIMESTAMP, record_error_t
from kafkax._core.cursor cimport write_i32, writer_t
from kafkax._core.fields cimport write_count, write_no_tags, write_no_text, write_text

cdef const char *SUMMARY = "one or more records of the batch were refused"
cdef const char *NO_KEY = "a record of a compacted topic needs a key"
cdef const char *OUT_OF_BOUNDS = "the timestamp is outside the bounds that the topic sets"

cdef enum:
    # Index, length of the text, tags.
    BESIDE_TEXT = 7


cdef const char *reason(int32_t kind) noexcept nogil:
    return NO_KEY if kind == RECORD_ERROR_NO_KEY else OUT_OF_BOUNDS


cdef size_t record_errors_bound(int32_t count) noexcept nogil:
    if count == 0:
        return BESIDE_TEXT
    return BESIDE_TEXT + strlen(SUMMARY) + <size_t>count * (BESIDE_TEXT + max(strlen(NO_KEY), strlen(OUT_OF_BOUNDS)))


cdef void record_errors_write(writer_t *w, const record_error_t *errors, int32_t count, bint flexible) noexcept nogil:
    cdef const char *text
    cdef int32_t at
    write_count(w, count, flexible)
    for at in range(count):
        text = reason(errors[at].kind)
        write_i32(w, errors[at].index)
        write_text(w, text, <int32_t>strlen(text), flexible)
        write_no_tags(w, flexible)
    if count:
        write_text(w, SUMMARY, <int32_t>strlen(SUMMARY), flexible)
    else:
        write_no_text(w, flexible)


REFUSED = SUMMARY.decode()
REASONS = {"key": reason(RECORD_ERROR_NO_KEY).decode(), "timestamp": reason(RECORD_ERROR_TIMESTAMP).decode()}
MOST = MOST_RECORD_ERRORS
