/* CRC-32C (Castagnoli, reflected 0x82F63B78), by the machine's instruction where there is one. */
#ifndef KAFKAX_CRC32C_H
#define KAFKAX_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Choose the implementation and fill its tables; idempotent, to be called before the first use. */
void kx_crc32c_setup(void);
uint32_t kx_crc32c(uint32_t crc, const uint8_t *data, size_t size);
uint32_t kx_crc32c_portable(uint32_t crc, const uint8_t *data, size_t size);
const char *kx_crc32c_name(void);

#endif
