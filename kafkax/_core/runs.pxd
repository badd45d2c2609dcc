"""Runs of records that are like the one before them: compared by the word instead of parsed byte by byte.

A producer's records mostly differ little. So the first bytes of one say how those of the next one stand: which bits are the
same, what the offset delta has grown to, and where the sizes and the timestamp delta are. What does not compare is no error:
it ends the run, and is parsed.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    static inline uint64_t kx_le64(const void *at) { uint64_t v; __builtin_memcpy(&v, at, 8); return v; }
    static inline uint32_t kx_le16(const void *at) { uint16_t v; __builtin_memcpy(&v, at, 2); return v; }
    """
    uint64_t kx_le64(const void *at) noexcept nogil
    uint32_t kx_le16(const void *at) noexcept nogil
    void __builtin_prefetch(const void *) noexcept nogil

cdef enum:
    # Bytes of a record's head, which one word holds: its size, attributes, deltas, and the size of its key.
    HEAD = 8
    # The value's bits in the first byte of a varint that is not negative, and in its second.
    LOW_BITS = 0x7E
    HIGH_BITS = 0x7F00
    # Timestamp deltas of two bytes lie between this and its negative.
    RUN_DELTAS = 8192
    # Bytes that a walk over records asks memory for in advance: 0.91 of the time where records differ in size and are parsed,
    # 0.81 where they are compared, and are larger than that.
    AHEAD = 256
    FAR_AHEAD = 512

cdef struct shape_t:
    # Bits of the head that are as in the record before, but for the offset delta: where all sizes are the same, and where
    # they need only take as many bytes.
    uint64_t same
    uint64_t alike
    # What the offset delta grows by, its continuation bits, and the smallest one that its bytes don't suffice for.
    uint64_t one
    uint64_t more
    int32_t most
    # Bits of the timestamp delta, and how far they are to the left.
    int32_t stamp_shift
    uint64_t stamp
    # How many bytes the size takes, and its bits in the second of them.
    uint64_t size_high
    int32_t size_bytes
    # The key's size in the record before, negative for null; bits of it that may differ, and how far they are to the left.
    int32_t key_size
    uint64_t key_bits
    int32_t key_shift
    # Where the value's size stands when those bits are 0, how many bytes it takes, and their bits: all, and the continuation.
    int32_t value_at
    int32_t value_bytes
    uint32_t value_mask
    uint32_t value_more

cdef struct run_t:
    # Where it ends so far, and how many bytes follow.
    const uint8_t *at
    int64_t left
    # Of its last record, or of the one before it.
    uint64_t head
    int32_t count
    # Which of its records is the first that is later than all before it, the one before the run included; -1: none.
    int32_t latest
    # That one's ``stamp_order``.
    int64_t order


cdef inline int32_t varint_bytes(const uint8_t *at) noexcept nogil:
    """Of a varint of one or two bytes."""
    return 1 + (at[0] >> 7)


cdef inline uint64_t bytes_below(int32_t count) noexcept nogil:
    """All bits of the first ``count`` bytes of a word, 1 to 8."""
    return <uint64_t>-1 >> 8 * (HEAD - count)


cdef inline int64_t stamp_order(const shape_t *shape, uint64_t head) noexcept nogil:
    """A number for the timestamp delta, larger for a later one: negative deltas are odd, and grow downwards."""
    return <int64_t>(head & shape.stamp) ^ -<int64_t>(head >> shape.stamp_shift & 1)


cdef inline int64_t ordered_delta(const shape_t *shape, int64_t order) noexcept nogil:
    """The timestamp delta that has this ``stamp_order``."""
    cdef uint64_t raw = <uint64_t>(order if order >= 0 else ~order) >> shape.stamp_shift
    raw = raw & 0x7F | (raw & HIGH_BITS) >> 1
    return <int64_t>(raw >> 1) ^ -<int64_t>(raw & 1)


cdef inline bint shape_of(const uint8_t *at, shape_t *out) noexcept nogil:
    """How a record stands that ``plain_record`` has found at ``at``; False when its head is larger than a word."""
    cdef int32_t size_end = varint_bytes(at)
    cdef int32_t delta_at = size_end + 1 + varint_bytes(at + size_end + 1)
    cdef int32_t key_at = delta_at + varint_bytes(at + delta_at)
    cdef int32_t key_end = key_at + varint_bytes(at + key_at)
    cdef uint32_t raw = at[key_at]
    if key_end > HEAD:
        return False
    out.stamp_shift = 8 * (size_end + 1)
    out.stamp = (bytes_below(delta_at) ^ bytes_below(size_end + 1)) & <uint64_t>0x7F7F7F7F7F7F7F7F
    out.same = bytes_below(key_end) & ~out.stamp
    out.one = <uint64_t>2 << 8 * delta_at
    out.more = <uint64_t>(key_at - delta_at - 1) << 8 * delta_at + 7
    out.most = 64 if key_at - delta_at == 1 else 8192
    out.size_bytes = size_end
    out.size_high = HIGH_BITS if size_end == 2 else 0
    if key_end - key_at == 2:
        raw = raw & 0x7F | <uint32_t>at[key_at + 1] << 7
    out.key_size = -1 if raw & 1 else <int32_t>(raw >> 1)
    out.key_shift = 8 * key_at + 1
    out.key_bits = LOW_BITS >> 1 if out.key_size >= 0 and key_end - key_at == 1 else 0
    out.value_at = key_end + (max(out.key_size, 0) if out.key_bits == 0 else 0)
    out.alike = out.same & ~(LOW_BITS | out.size_high | out.key_bits << out.key_shift)
    out.value_bytes = varint_bytes(at + key_end + max(out.key_size, 0))
    out.value_mask = 0xFF if out.value_bytes == 1 else 0xFFFF
    out.value_more = 0 if out.value_bytes == 1 else 0x80
    return True


cdef inline void run_over(run_t *run, const shape_t *shape, uint64_t head, int64_t step) noexcept nogil:
    """Take one more record, of ``step`` bytes, into the run; ``head`` as it stands there."""
    cdef int64_t order = stamp_order(shape, head)
    run.latest = run.count if order > run.order else run.latest
    run.order = order if order > run.order else run.order
    run.head = head
    run.at += step
    run.left -= step
    run.count += 1


cdef inline void run_same(run_t *out, const shape_t *shape, int64_t step, int32_t most) noexcept nogil:
    """Go on, up to ``most`` records in all, over those whose sizes are all the same as in the one of ``step`` bytes before."""
    cdef run_t run = out[0]
    cdef int64_t value_at = shape.value_at + (shape.key_size if shape.key_bits else 0)
    cdef uint32_t value = kx_le16(run.at - step + value_at)
    cdef uint64_t head, due
    while run.count < most and run.left >= step:
        due = run.head + shape.one | shape.more
        head = kx_le64(run.at)
        # The last byte is the number of headers.
        if (head ^ due) & shape.same | (kx_le16(run.at + value_at) ^ value) & shape.value_mask | run.at[step - 1]:
            break
        run_over(&run, shape, head, step)
    out[0] = run


cdef inline void run_alike(run_t *out, const shape_t *shape, int32_t most) noexcept nogil:
    """Go on, up to ``most`` records in all, over those whose sizes take as many bytes as in the one before the run."""
    cdef run_t run = out[0]
    cdef uint64_t head, due
    cdef int64_t step, value_at, size
    cdef uint32_t raw
    while run.count < most and run.left >= HEAD:
        due = run.head + shape.one | shape.more
        head = kx_le64(run.at)
        step = shape.size_bytes + <int64_t>((head & LOW_BITS) >> 1 | (head & shape.size_high) >> 2)
        value_at = shape.value_at + <int64_t>(head >> shape.key_shift & shape.key_bits)
        # What is there for the value, between its size and the number of headers.
        size = step - value_at - shape.value_bytes - 1
        if (head ^ due) & shape.alike or step > run.left or size < 0:
            break
        raw = <uint32_t>size << 1
        raw = raw & 0x7F | shape.value_more | (raw & ~0x7F) << 1
        if kx_le16(run.at + value_at) & shape.value_mask ^ raw | run.at[step - 1]:
            break
        run_over(&run, shape, head, step)
        __builtin_prefetch(run.at + FAR_AHEAD)
        __builtin_prefetch(run.at + FAR_AHEAD + 128)
    out[0] = run
