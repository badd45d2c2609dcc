"""Limits of the network side, under Kafka's names."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReactorSettings"]


@dataclass(frozen=True)
class ReactorSettings:
    """What ``Reactor`` needs to know; every field is the broker config of that name (dots as underscores).

    Sizes are bytes, times ms.  ``queued_max_request_bytes`` and the socket buffers: -1 leaves them unlimited and to the kernel.
    """

    socket_request_max_bytes: int = 104857600
    sasl_server_max_receive_size: int = 524288
    """Largest frame of a connection that has not authenticated yet."""
    max_connections: int = 2147483647
    """Beyond it, peers wait in the listen backlog."""
    max_connections_per_ip: int = 2147483647
    """Beyond it, a new connection of that address is closed at once."""
    connections_max_idle_ms: int = 600000
    """Also ends a connection whose frame stays incomplete, or whose answers are not read, for so long."""
    queued_max_requests: int = 500
    """Requests that the control plane has not answered; beyond it, connections that would add one are not read."""
    queued_max_request_bytes: int = -1
    """Bytes of incomplete requests and of those that the control plane has not taken."""
    connection_output_bytes: int = 1048576
    """Answers of one connection that wait for the socket; beyond it, the connection is not read. Not a config of Kafka."""
    fetch_max_bytes: int = 57671680
    rack_aware_reads: bool = False
    """Hand over what consumers ask that name their rack (``replica.selector.class``)."""
    max_incremental_fetch_session_cache_slots: int = 1000
    socket_send_buffer_bytes: int = -1
    socket_receive_buffer_bytes: int = -1
    socket_listen_backlog_size: int = 50
    network_busy_poll_us: int = 100
    """Microseconds; 0 to sleep at once."""
