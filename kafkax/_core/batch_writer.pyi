"""Record batches of magic 2, written record by record."""

class BatchWriter:
    """One uncompressed batch at a time, whose records all have the same timestamp and no headers."""

    @property
    def size(self) -> int:
        """Bytes of the batch so far, its header included."""

    @property
    def count(self) -> int:
        """Records so far."""

    def add(self, key: bytes, value: bytes | None) -> None:
        """Add a record; a value of None deletes the key.

        Raises:
            ValueError: the batch would be longer than a batch can be.
        """

    def clear(self) -> None:
        """Drop the records that were added."""

    def finish(
        self, timestamp_ms: int, producer_id: int = -1, producer_epoch: int = -1, transactional: bool = False
    ) -> bytes:
        """The batch, at base offset 0; the writer begins another one.

        Raises:
            ValueError: it has no records.
        """
