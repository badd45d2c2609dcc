"""Kafka's varints, for tests and tools; the core's own use is inlined from the declarations."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from kafkax._core.cursor cimport read_varint, read_varlong, reader, reader_t, write_varint, write_varlong, writer, writer_t

from kafkax.errors import ProtocolError


def decode_varint(const uint8_t[::1] data not None):
    cdef reader_t r = reader(&data[0] if data.shape[0] else NULL, data.shape[0])
    cdef int32_t value = read_varint(&r)
    if r.bad:
        raise ProtocolError("varint is cut off or larger than 32 bits")
    return value, data.shape[0] - (r.end - r.at)


def decode_varlong(const uint8_t[::1] data not None):
    cdef reader_t r = reader(&data[0] if data.shape[0] else NULL, data.shape[0])
    cdef int64_t value = read_varlong(&r)
    if r.bad:
        raise ProtocolError("varlong is cut off or larger than 64 bits")
    return value, data.shape[0] - (r.end - r.at)


def encode_varint(int32_t value):
    cdef uint8_t out[5]
    cdef writer_t w = writer(out, 5)
    write_varint(&w, value)
    return out[: w.at - out]


def encode_varlong(int64_t value):
    cdef uint8_t out[10]
    cdef writer_t w = writer(out, 10)
    write_varlong(&w, value)
    return out[: w.at - out]
