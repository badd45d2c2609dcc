"""CRC-32C over what Produce carries, from one small record to a full batch."""

from __future__ import annotations

import random

from kafkax._core.crc32c import crc32c, crc32c_portable


class Checksum:
    params = (100, 1 << 10, 16 << 10, 1 << 20)
    param_names = ("bytes",)

    def setup(self, size: int) -> None:
        self.data = random.Random(1).randbytes(size)

    def time_machine(self, size: int) -> None:
        crc32c(self.data)

    def time_portable(self, size: int) -> None:
        crc32c_portable(self.data)
