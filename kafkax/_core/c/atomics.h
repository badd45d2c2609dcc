/* Atomic loads, stores and counters for struct fields that several threads share without a lock.
 * Acquire on load and release on store: what was written before a store is seen by who loads it. */
#ifndef KAFKAX_ATOMICS_H
#define KAFKAX_ATOMICS_H

#include <stdint.h>

static inline int32_t kx_load32(const int32_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
static inline int64_t kx_load64(const int64_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
static inline void kx_store32(int32_t *at, int32_t value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }
static inline void kx_store64(int64_t *at, int64_t value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }
static inline int32_t kx_add32(int32_t *at, int32_t by) { return __atomic_add_fetch(at, by, __ATOMIC_ACQ_REL); }
static inline int64_t kx_add64(int64_t *at, int64_t by) { return __atomic_add_fetch(at, by, __ATOMIC_ACQ_REL); }
static inline int32_t kx_swap32(int32_t *at, int32_t value) { return __atomic_exchange_n(at, value, __ATOMIC_ACQ_REL); }

static inline void *kx_load_pointer(void *const *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
static inline void kx_store_pointer(void **at, void *value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }

/* A counter that one thread alone adds to, and others read: costs no more than an ordinary addition. */
static inline void kx_count64(int64_t *at, int64_t by) {
    __atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) + by, __ATOMIC_RELAXED);
}

/* Taken with a full fence between a store and a later load, where a waiter and a waker look at each other's flag. */
static inline void kx_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

#endif
