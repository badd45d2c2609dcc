"""CRC-32C (Castagnoli), the checksum of record batches."""

from typing_extensions import Buffer

def crc32c(data: Buffer, value: int = 0) -> int:
    """CRC-32C of ``data``, going on from ``value``, the checksum of what came before (0: nothing)."""

def implementation() -> str:
    """Name of the implementation that this machine runs: ``avx512``, ``sse4.2``, ``armv8`` or ``portable``."""

def crc32c_portable(data: Buffer, value: int = 0) -> int:
    """The same by the table-driven fallback, so that tests can compare the two on any machine."""
