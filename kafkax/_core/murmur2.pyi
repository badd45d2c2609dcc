"""Murmur2 as Kafka's default partitioner uses it, so that a key lands on the same partition from every client."""

from typing_extensions import Buffer

def murmur2(key: Buffer) -> int:
    """Hash of ``key`` as Java's signed 32-bit int."""

def partition_for_key(key: Buffer, partitions: int) -> int:
    """Partition of ``key`` among ``partitions`` (> 0): the positive hash modulo their count."""
