/* Access to a mapped file whose pages may be out of reach: the file was cut behind our back, or the disk fails to read.
 *
 * The kernel answers such an access with SIGBUS, which ends the process. While a thread watches a map, the handler puts an empty
 * page in the place of one that cannot be had, notes that in a flag, and lets the access go on: whoever watches looks at the
 * flag afterwards and takes nothing from the map if it is set. The flag is set before the page is there, so that another thread
 * that reads the empty page sees it too. Faults anywhere else go to whoever handled the signal before. */
#ifndef KAFKAX_GUARD_H
#define KAFKAX_GUARD_H

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
    uintptr_t begin, end;
    int32_t *lost;
} kx_watch_t;

/* In the thread's own block from its start on: the handler may not allocate it. */
static _Thread_local __attribute__((tls_model("initial-exec"))) volatile kx_watch_t kx_watched;
static _Thread_local __attribute__((tls_model("initial-exec"))) int kx_unblocked;
static struct sigaction kx_sigbus_before;
static uintptr_t kx_page_size;

static void kx_on_sigbus(int number, siginfo_t *info, void *context) {
    uintptr_t at = (uintptr_t)info->si_addr;
    /* Not positive: somebody sent it. */
    if (info->si_code > 0 && at >= kx_watched.begin && at < kx_watched.end) {
        __atomic_store_n(kx_watched.lost, 1, __ATOMIC_SEQ_CST);
        /* ThreadSanitizer would take the function mmap for a write of what another thread reads at the moment. */
        if (syscall(SYS_mmap, at & ~(kx_page_size - 1), kx_page_size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != -1)
            return;
    }
    if (kx_sigbus_before.sa_flags & SA_SIGINFO)
        kx_sigbus_before.sa_sigaction(number, info, context);
    else if (kx_sigbus_before.sa_handler != SIG_DFL && kx_sigbus_before.sa_handler != SIG_IGN)
        kx_sigbus_before.sa_handler(number);
    else {
        /* The access is repeated, and does what it would have done without us; what was sent is sent again. */
        sigaction(number, &kx_sigbus_before, NULL);
        if (info->si_code <= 0)
            raise(number);
    }
}

/* Once, before the first watch; 0 or errno. */
static int kx_guard_begin(void) {
    struct sigaction action = {.sa_sigaction = kx_on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    kx_page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &kx_sigbus_before) == 0 ? 0 : errno;
}

/* Watch a map from here on, on this thread; ``lost`` becomes 1 when a page of it cannot be had. */
static inline void kx_watch(const void *map, size_t size, int32_t *lost) {
    if (!kx_unblocked) {
        /* A blocked signal that a fault raises is not kept for later: it ends the process. */
        sigset_t bus;
        sigemptyset(&bus);
        sigaddset(&bus, SIGBUS);
        pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
        kx_unblocked = 1;
    }
    kx_watched.lost = lost;
    kx_watched.end = (uintptr_t)map + size;
    kx_watched.begin = (uintptr_t)map;
    __asm__ volatile("" ::: "memory");
}

/* Watch no more; whether all that was accessed was really there. */
static inline int kx_unwatch(void) {
    int32_t *lost = kx_watched.lost;
    __asm__ volatile("" ::: "memory");
    kx_watched.begin = kx_watched.end = 0;
    return __atomic_load_n(lost, __ATOMIC_SEQ_CST) == 0;
}

#endif
