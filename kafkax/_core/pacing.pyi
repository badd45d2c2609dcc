"""Connections within one machine are not paced.

Where the host's congestion control is BBR (sysctl ``net.ipv4.tcp_congestion_control``), TCP spreads what it sends over time, with
a timer of high resolution for each piece. Between processes of one machine there is no network to be kind to, and on a virtual
machine each such timer costs more than what it sends: a client's cost of a 110 KB request fell from 40 us to 16, measured.
"""

import socket

def unpaced(end: socket.socket) -> str:
    """Have a socket, and all that it accepts, use Reno where the host's own way paces. To be called before it connects or
    listens: a connection that was paced once stays so.

    Returns:
        The name of the host's congestion control, to go back to for peers elsewhere; "" when nothing was changed.

    Raises:
        OSError: the kernel refused.
    """

def unpaced_within_host(end: socket.socket, host: str) -> None:
    """The same for a socket that is about to connect to an IP address, if that is on the loopback.

    Raises:
        OSError: the kernel refused.
    """
