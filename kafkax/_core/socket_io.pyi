"""Bytes out of and into a non-blocking socket."""

from typing_extensions import Buffer

def send_parts(fd: int, parts: list[Buffer]) -> list[memoryview] | None:
    """Send buffers one after the other, as much of them as the socket takes now.

    Returns:
        What is left to be sent; None when nothing is.

    Raises:
        OSError: the connection failed.
    """

def receive_into(fd: int, room: Buffer) -> int:
    """Take what has arrived, at most what ``room`` holds.

    Returns:
        How many bytes; 0 when the peer has closed the connection, -1 when nothing is there now.

    Raises:
        OSError: the connection failed.
    """
