/* Copying into a mapped file where an access may fail as a write may: with an error, not with the end of the process.

   A page of a mapping that the disk cannot give, or that a file cut by somebody else does not have any more, raises SIGBUS in
   the thread that touches it. A copy says where its thread goes on then; a SIGBUS of anything else goes to whoever handled it
   before. */
#ifndef KAFKAX_GUARDED_COPY_H
#define KAFKAX_GUARDED_COPY_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

static __thread sigjmp_buf *volatile kx_fault_target;
static struct sigaction kx_fault_before;

static void kx_on_fault(int number, siginfo_t *info, void *context) {
    sigjmp_buf *target = kx_fault_target;
    /* Not positive: somebody sent it. */
    if (target != NULL && info->si_code > 0)
        siglongjmp(*target, 1);
    if (kx_fault_before.sa_flags & SA_SIGINFO)
        kx_fault_before.sa_sigaction(number, info, context);
    else if (kx_fault_before.sa_handler != SIG_DFL && kx_fault_before.sa_handler != SIG_IGN)
        kx_fault_before.sa_handler(number);
    else {
        /* The access is repeated, and does what it would have done without us; what was sent is sent again. */
        sigaction(number, &kx_fault_before, NULL);
        if (info->si_code <= 0)
            raise(number);
    }
}

/* Once, before the first copy; 0 or errno. */
static int kx_watch_faults(void) {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = kx_on_fault;
    /* A jump out of the handler does not bring the signal mask back, so the mask stays as it is. */
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    return sigaction(SIGBUS, &action, &kx_fault_before) == 0 ? 0 : errno;
}

/* Copy the parts one behind the other; 0, or EIO where a page is out of reach. */
static int kx_copy_guarded(char *to, const struct iovec *parts, int count) {
    sigjmp_buf back;
    int at;
    if (sigsetjmp(back, 0) != 0) {
        kx_fault_target = NULL;
        return EIO;
    }
    kx_fault_target = &back;
    __asm__ volatile("" ::: "memory");
    for (at = 0; at < count; at++) {
        memcpy(to, parts[at].iov_base, parts[at].iov_len);
        to += parts[at].iov_len;
    }
    __asm__ volatile("" ::: "memory");
    kx_fault_target = NULL;
    return 0;
}

#endif
