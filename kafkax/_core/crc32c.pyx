"""CRC-32C (Castagnoli), the checksum of record batches."""

from libc.stdint cimport uint8_t, uint32_t

cdef extern from "crc32c.h" nogil:
    void kx_crc32c_setup() noexcept
    uint32_t kx_crc32c(uint32_t crc, const uint8_t *data, size_t size) noexcept
    uint32_t kx_crc32c_portable(uint32_t crc, const uint8_t *data, size_t size) noexcept
    const char *kx_crc32c_name() noexcept

kx_crc32c_setup()


cdef uint32_t crc32c_update(uint32_t crc, const uint8_t *data, size_t size) noexcept nogil:
    return kx_crc32c(crc, data, size)


def crc32c(const uint8_t[::1] data not None, uint32_t value=0):
    cdef size_t size = data.shape[0]
    cdef const uint8_t *at = &data[0] if size else NULL
    with nogil:
        value = kx_crc32c(value, at, size)
    return value


def crc32c_portable(const uint8_t[::1] data not None, uint32_t value=0):
    cdef size_t size = data.shape[0]
    return kx_crc32c_portable(value, &data[0] if size else NULL, size)


def implementation():
    return kx_crc32c_name().decode()
