"""CRC-32C (Castagnoli), the checksum of record batches."""

from libc.stdint cimport uint8_t, uint32_t

# Checksum of what ``crc`` already covers followed by ``data``; start with 0.
cdef uint32_t crc32c_update(uint32_t crc, const uint8_t *data, size_t size) noexcept nogil
