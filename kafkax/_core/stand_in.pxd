"""Who makes an answer possible sends it, too, while the network thread that it is of sleeps."""

from kafkax._core.network cimport connection_t

cdef void stand_in(void *thread, bint at_leisure) noexcept nogil
"""Look at the requests that were woken, for a network thread that sleeps; wake it if that is more than a few, or not the time."""
cdef void send_on(connection_t *connection) noexcept nogil
"""Send what is ready, and close the connection, or note that there is more to do, accordingly. By who holds ``thread.run``."""
