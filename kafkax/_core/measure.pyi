"""Loops over the data plane's own entry points, without Python in between, for benchmarks."""

from collections.abc import Sequence

from typing_extensions import Buffer

from kafkax._core.partition import Partition

def append_seconds(partition: Partition, records: Buffer, times: int) -> float:
    """Seconds that ``times`` appends of the same batch (acks=1) take. Raises KafkaError when one is refused."""

def walk_seconds(records: Buffer, times: int) -> float:
    """Seconds to check the records of the same batch ``times`` times, as before an append but without the checksum.

    Raises KafkaError when the batch is damaged or compressed.
    """

def floor_seconds(path: str, records: Buffer, times: int) -> float:
    """Seconds for the least that any broker does with a batch: its checksum and one ``pwritev`` to the end of ``path``."""

def read_seconds(partition: Partition, offsets: Sequence[int], max_bytes: int) -> float:
    """Seconds to find what a Fetch at each of ``offsets`` answers; nothing is read of it but headers."""
