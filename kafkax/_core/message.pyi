"""A record as clients see it: fields in place, Python objects only for what is asked for."""

from typing import Any

from kafkax.errors import KafkaError

class Message:
    """A record that was consumed, or whose delivery is reported. It keeps the batch that it came from in memory."""

    @staticmethod
    def failure(topic: str, partition: int, offset: int, error: KafkaError) -> Message:
        """An event in place of a record, like the end of a partition."""

    def topic(self) -> str:
        """Name of the topic."""

    def partition(self) -> int:
        """Number of the partition."""

    def offset(self) -> int | None:
        """Offset in the partition; None when it is not known, since the record was not delivered."""

    def key(self) -> bytes | None:
        """The key; a new object each time."""

    def value(self) -> bytes | None:
        """The value, None for a tombstone; a new object each time."""

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Names and values in their order; None when there are none."""

    def timestamp(self) -> tuple[int, int]:
        """What the timestamp is (``TIMESTAMP_*``), and the timestamp in milliseconds since the epoch."""

    def error(self) -> KafkaError | None:
        """Why the record was not delivered, or what happened in its place."""

    def leader_epoch(self) -> int | None:
        """Leader epoch of the batch, None when not known."""

    def latency(self) -> float | None:
        """Seconds from when the first record of the batch was given to the producer until the broker acknowledged the batch;
        None for records that were consumed, and for those that failed."""

    def set_topic(self, value: str) -> None:
        """Have :meth:`topic` say something else."""

    def set_key(self, value: Any) -> None:
        """Have :meth:`key` give another object, like what a deserializer made of it."""

    def set_value(self, value: Any) -> None:
        """Have :meth:`value` give another object, like what a deserializer made of it."""

    def set_headers(self, value: Any) -> None:
        """Have :meth:`headers` give another object."""

    def set_error(self, value: KafkaError | None) -> None:
        """Have :meth:`error` give another error, or none."""

    def __len__(self) -> int:
        """Size of the value in bytes."""
