"""Atomic fields: acquire on load, release on store; ``add`` and ``swap`` do both; ``count`` has a single writer."""

from libc.stdint cimport int32_t, int64_t

cdef extern from "atomics.h" nogil:
    int32_t kx_load32(const int32_t *at) noexcept
    int64_t kx_load64(const int64_t *at) noexcept
    void kx_store32(int32_t *at, int32_t value) noexcept
    void kx_store64(int64_t *at, int64_t value) noexcept
    int32_t kx_add32(int32_t *at, int32_t by) noexcept
    int64_t kx_add64(int64_t *at, int64_t by) noexcept
    int32_t kx_swap32(int32_t *at, int32_t value) noexcept
    void *kx_load_pointer(void *const *at) noexcept
    void kx_store_pointer(void **at, void *value) noexcept
    void kx_count64(int64_t *at, int64_t by) noexcept
    void kx_fence() noexcept
