"""Heartbeats while the interpreter is stuck in C code that keeps the GIL: a thread without it goes on with them.

It has a connection of its own to the group's coordinator, made while Python runs, since nobody could finish what Python may have
half written on the others. TLS connections can't be written to without Python, so there it does nothing.
"""

from __future__ import annotations

import struct
import threading

from kafkax._core.keepalive import Keepalive
from kafkax.client.cluster import Cluster
from kafkax.client.connection import Connection
from kafkax.errors import KafkaError
from kafkax.protocol.headers import request_header
from kafkax.protocol.message import Request

__all__ = ["StandIn"]


class StandIn:
    """Sends heartbeats in place of Python; used on the I/O thread, but for :meth:`close`.

    Args:
        cluster: connections.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._usable = "SSL" not in cluster.config["security.protocol"]
        self._core: Keepalive | None = None
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._opening = False

    def beat(self, node: int, request: Request, interval: float) -> None:
        """Python has just sent a heartbeat.

        Args:
            node: broker id of the coordinator.
            request: the heartbeat to send when Python sends none, again and again.
            interval: seconds between heartbeats.
        """
        if not self._usable:
            return
        connection = self._connection
        if connection is None or connection.closed.done() or connection.node_id != node:
            if not self._opening:
                self._opening = True
                self._cluster.io.spawn(self._open(node))
            return
        assert self._core is not None
        version = connection.version(type(request))
        body = request.encode(version)
        header = request_header(request.api_key, version, 0, self._cluster.config["client.id"])
        frame = struct.pack(">i", len(header) + len(body)) + header + body
        self._core.pet(frame, interval, self._cluster.config["max.poll.interval.ms"] / 1000)

    async def _open(self, node: int) -> None:
        try:
            connection = await self._cluster.another_connection(node)
        except KafkaError as error:
            self._cluster.report(error)
            return
        finally:
            self._opening = False
        if self._core is None:
            self._core = Keepalive()
            self._thread = threading.Thread(target=self._core.run, name="kafkax-keepalive", daemon=True)
            self._thread.start()
        self._core.adopt(connection.fileno())
        self._connection = connection

    def rest(self) -> None:
        """No heartbeats are due."""
        if self._core is not None:
            self._core.rest()

    def close(self) -> None:
        """End the thread; from any thread."""
        core, self._core = self._core, None
        self._usable = False
        if core is not None and self._thread is not None:
            core.stop()
            self._thread.join(5)
