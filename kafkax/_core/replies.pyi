"""Answers as they mostly are, read without an object for every field: no errors, nothing unusual.

What these functions give None for is to be read by the schema, which tells what is wrong with it.
"""

def plain_fetch(frame: memoryview) -> tuple[int, list[tuple[bytes, int, int, int, int, memoryview | None]]] | None:
    """A response to Fetch of version 13 to 18, with its header.

    Returns:
        The session's id and, for each partition, topic id, number, high watermark, last stable offset, log start offset and
        records; None when there is an error, a hint or an aborted transaction in it, or it does not parse.
    """

def plain_produce(frame: memoryview) -> list[tuple[bytes, int, int, int]] | None:
    """A response to Produce of version 13, with its header.

    Returns:
        For each partition topic id, number, base offset and append time (ms, -1: not set); None when one was refused, or it does
        not parse.
    """
