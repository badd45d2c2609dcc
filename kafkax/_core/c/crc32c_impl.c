#include "crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define KX_HARDWARE "sse4.2"
#define KX_TARGET __attribute__((target("sse4.2")))
#define KX_STEP8(crc, value) ((uint32_t)_mm_crc32_u64((crc), (value)))
#define KX_STEP1(crc, value) _mm_crc32_u8((crc), (value))
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#define KX_HARDWARE "armv8"
#define KX_TARGET __attribute__((target("+crc")))
#define KX_STEP8(crc, value) __crc32cd((crc), (value))
#define KX_STEP1(crc, value) __crc32cb((crc), (value))
#endif

#if defined(__x86_64__) && !defined(__clang__)
#include <immintrin.h>
#define KX_FOLDING "avx512"
#define KX_FOLD_TARGET __attribute__((target("sse4.2,pclmul,avx512f,avx512vl,vpclmulqdq")))
#endif

#define POLYNOMIAL 0x82F63B78u

/* Three streams hide the latency of the instruction; the two sizes serve large inputs and what is left of them. */
#define LONG_STREAM 4096
#define SHORT_STREAM 256

static uint32_t slices[8][256];
static uint32_t long_shift[4][256];
static uint32_t short_shift[4][256];
static int hardware;

/* Bytes that are folded at once, four registers full, and from how many on that pays. */
#define FOLD 256
#define FOLD_FROM 1024

static uint64_t fold_low, fold_high;
static int folding;

static uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

static uint32_t update_portable(uint32_t crc, const uint8_t *data, size_t size)
{
    while (size >= 8) {
        uint64_t word = load64(data) ^ crc;
        crc = slices[7][word & 255] ^ slices[6][(word >> 8) & 255] ^ slices[5][(word >> 16) & 255] ^
              slices[4][(word >> 24) & 255] ^ slices[3][(word >> 32) & 255] ^ slices[2][(word >> 40) & 255] ^
              slices[1][(word >> 48) & 255] ^ slices[0][word >> 56];
        data += 8;
        size -= 8;
    }
    while (size--)
        crc = slices[0][(crc ^ *data++) & 255] ^ (crc >> 8);
    return crc;
}

/* What a register turns into when `zeros` zero bytes follow is linear in its bits: tabulated for each of its bytes. */
static void fill_shift(uint32_t table[4][256], size_t zeros)
{
    uint32_t bits[32];
    for (int bit = 0; bit < 32; bit++) {
        uint32_t crc = 1u << bit;
        for (size_t i = 0; i < zeros; i++)
            crc = slices[0][crc & 255] ^ (crc >> 8);
        bits[bit] = crc;
    }
    for (int byte = 0; byte < 4; byte++)
        for (int value = 0; value < 256; value++) {
            uint32_t crc = 0;
            for (int bit = 0; bit < 8; bit++)
                if (value >> bit & 1)
                    crc ^= bits[byte * 8 + bit];
            table[byte][value] = crc;
        }
}

/* x^power modulo the polynomial, reflected and moved up by one as carry-less multiplication of reflected numbers wants it. */
static uint64_t reflected_power(int power)
{
    uint32_t crc = 1u << 31;
    while (power-- > 0)
        crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
    return (uint64_t)crc << 1;
}

#ifdef KX_HARDWARE
static uint32_t shift(uint32_t table[4][256], uint32_t crc)
{
    return table[0][crc & 255] ^ table[1][(crc >> 8) & 255] ^ table[2][(crc >> 16) & 255] ^ table[3][crc >> 24];
}

KX_TARGET static const uint8_t *three_streams(uint32_t *crc, const uint8_t *data, size_t length, uint32_t table[4][256])
{
    uint32_t a = *crc, b = 0, c = 0;
    const uint8_t *end = data + length;
    for (; data < end; data += 8) {
        a = KX_STEP8(a, load64(data));
        b = KX_STEP8(b, load64(data + length));
        c = KX_STEP8(c, load64(data + 2 * length));
    }
    *crc = shift(table, shift(table, a) ^ b) ^ c;
    return data + 2 * length;
}

KX_TARGET static uint32_t update_hardware(uint32_t crc, const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size;
    while (end - data >= 3 * LONG_STREAM)
        data = three_streams(&crc, data, LONG_STREAM, long_shift);
    while (end - data >= 3 * SHORT_STREAM)
        data = three_streams(&crc, data, SHORT_STREAM, short_shift);
    for (; end - data >= 8; data += 8)
        crc = KX_STEP8(crc, load64(data));
    for (; data < end; data++)
        crc = KX_STEP1(crc, *data);
    return crc;
}
#endif

#ifdef KX_FOLDING
KX_FOLD_TARGET static __m512i fold(__m512i sum, __m512i powers, const uint8_t *next)
{
    __m512i low = _mm512_clmulepi64_epi128(sum, powers, 0x00), high = _mm512_clmulepi64_epi128(sum, powers, 0x11);
    return _mm512_ternarylogic_epi64(low, high, _mm512_loadu_si512(next), 0x96);
}

/* Moves the sums, which stand for everything before, over the next FOLD bytes without changing the remainder, until they are the
 * last whole FOLD bytes; their checksum by the instruction is then that of all. */
KX_FOLD_TARGET static uint32_t update_folding(uint32_t crc, const uint8_t *data, size_t size)
{
    const __m512i powers = _mm512_broadcast_i32x4(_mm_set_epi64x((long long)fold_high, (long long)fold_low));
    __m512i a = _mm512_xor_si512(_mm512_loadu_si512(data), _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
    __m512i b = _mm512_loadu_si512(data + 64), c = _mm512_loadu_si512(data + 128), d = _mm512_loadu_si512(data + 192);
    uint8_t sums[FOLD];
    for (data += FOLD, size -= FOLD; size >= FOLD; data += FOLD, size -= FOLD) {
        a = fold(a, powers, data);
        b = fold(b, powers, data + 64);
        c = fold(c, powers, data + 128);
        d = fold(d, powers, data + 192);
    }
    _mm512_storeu_si512(sums, a);
    _mm512_storeu_si512(sums + 64, b);
    _mm512_storeu_si512(sums + 128, c);
    _mm512_storeu_si512(sums + 192, d);
    return update_hardware(update_hardware(0, sums, FOLD), data, size);
}
#endif

void kx_crc32c_setup(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        slices[0][i] = crc;
    }
    for (int slice = 1; slice < 8; slice++)
        for (int i = 0; i < 256; i++)
            slices[slice][i] = slices[0][slices[slice - 1][i] & 255] ^ (slices[slice - 1][i] >> 8);
    fill_shift(long_shift, LONG_STREAM);
    fill_shift(short_shift, SHORT_STREAM);
#if defined(__x86_64__)
    __builtin_cpu_init();
    hardware = __builtin_cpu_supports("sse4.2") != 0;
#ifdef KX_FOLDING
    fold_low = reflected_power(8 * FOLD + 32);
    fold_high = reflected_power(8 * FOLD - 32);
    folding = hardware && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("avx512f") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vpclmulqdq");
#endif
#elif defined(__aarch64__)
    hardware = (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#endif
}

uint32_t kx_crc32c_portable(uint32_t crc, const uint8_t *data, size_t size)
{
    return ~update_portable(~crc, data, size);
}

uint32_t kx_crc32c(uint32_t crc, const uint8_t *data, size_t size)
{
#ifdef KX_FOLDING
    if (folding && size >= FOLD_FROM)
        return ~update_folding(~crc, data, size);
#endif
#ifdef KX_HARDWARE
    if (hardware)
        return ~update_hardware(~crc, data, size);
#endif
    return kx_crc32c_portable(crc, data, size);
}

const char *kx_crc32c_name(void)
{
#ifdef KX_FOLDING
    if (folding)
        return KX_FOLDING;
#endif
#ifdef KX_HARDWARE
    if (hardware)
        return KX_HARDWARE;
#endif
    return "portable";
}
