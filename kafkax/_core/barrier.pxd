"""A disk's write cache emptied, without a sync of any file that matters.

A disk may keep what was written in a cache that a power cut empties, so ``fdatasync`` ends with the order to bring that to the
disk. Who has only replaced blocks that were on the disk already needs that order alone; it comes with the sync of any file in
which nothing has changed. The file's own sync costs more where ext4 has no journal: it writes the block of inodes, and waits
for it, whenever one of them has changed, and the time of change of a log that is written is a new one a few hundred times a
second."""

from libc.stdint cimport int32_t

# A descriptor whose ``fdatasync`` gives that order to the disk under ``directory``; the caller closes it. -1 where a sync of
# replaced blocks is not known to need no more: other file systems than ext4, and ext4 that puts data into its journal.
cdef int32_t barrier_open(str directory) except -2
