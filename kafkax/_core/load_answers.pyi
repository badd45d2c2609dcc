"""What the load generator reads of an answer: its error code and, of a fetch, how far it came."""

from __future__ import annotations

def parse_answer(api: int, version: int, frame: bytes | bytearray | memoryview) -> tuple[int, int, int, int]:
    """Read an answer (after its correlation id) that names at most one partition.

    Returns error code, records in whole batches, bytes of record batches, and the offset after the last whole batch (-1
    without one); the last three are of Fetch (4 to 18) only, and of APIs other than Produce (3 to 13) and Fetch all are the
    neutral ``0, 0, 0, -1``.  Raises ProtocolError when the frame ends inside a field.
    """
