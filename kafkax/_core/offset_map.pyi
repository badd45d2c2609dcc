"""The cleaner's memory: last offset of each key by a 128-bit keyed hash, in a table of bounded size."""

class OffsetMap:
    """Last offset of each key, in at most ``memory`` bytes.

    A key is kept as its SipHash-2-4-128 under a secret drawn for this map, so that nobody can prepare two keys which the
    cleaner would take for one.

    Args:
        memory: bytes that the table may take (``log.cleaner.dedupe.buffer.size`` per thread).
        expected: keys that may come at most, which makes a small job's table small; 0: not known.
        load_factor: part of the slots that may be filled (``log.cleaner.io.buffer.load.factor``).

    Raises:
        MemoryError: the table cannot be had.
        ValueError: ``memory`` is less than one slot.
    """

    def __init__(self, memory: int, expected: int = 0, load_factor: float = 0.9) -> None: ...
    def __len__(self) -> int: ...
    @property
    def capacity(self) -> int:
        """Keys that the map can hold."""
    @property
    def latest_offset(self) -> int:
        """Up to which offset, inclusive, the map knows the log; -1 at first."""
    def see(self, offset: int) -> None:
        """Note that the log was read up to ``offset``, inclusive."""
    def store(self, key: bytes, offset: int) -> bool:
        """Note a key's offset; False when the key is new and the map is full."""
    def find(self, key: bytes) -> int:
        """Last offset of a key; -1 when it is not known."""
