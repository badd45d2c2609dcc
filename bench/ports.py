"""Ports for servers on loopback that others start."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(following: int = 0, host: str = "127.0.0.1") -> int:
    """A port on which nothing listens at the moment, nor on as many ports that follow it.

    Where the system leaves enough beside them it is none of those that it gives to connections that go out, so that no connection
    takes it before the server does.
    """
    begin = int(_RANGE.read_text().split()[0])
    highest = (begin if begin >= 2 * _LOWEST else 65_536) - 1 - following
    while True:
        port = random.randint(_LOWEST, highest)
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for offset in range(following + 1):
                probes.enter_context(socket.create_server((host, port + offset)))
            return port
