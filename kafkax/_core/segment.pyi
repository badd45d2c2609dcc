"""A byte range of a segment's log file."""

class FileSlice:
    """Byte range of a log file, made by ``Log.read`` and ``Partition.read``; it keeps the file readable after deletion."""

    @property
    def position(self) -> int:
        """First byte of the range in the file."""

    @property
    def length(self) -> int:
        """Bytes in the range; ``len(slice)`` is the same."""

    @property
    def base_offset(self) -> int:
        """Base offset of the segment, which names its file."""

    def fileno(self) -> int:
        """File descriptor of the log file, owned by the segment: do not close it. Raises KafkaError KAFKA_STORAGE_ERROR."""

    def read(self) -> bytes:
        """The bytes themselves. Raises KafkaError KAFKA_STORAGE_ERROR when the file cannot be read."""

    def __len__(self) -> int: ...
