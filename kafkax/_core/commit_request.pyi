"""OffsetCommit requests in their ordinary form."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from kafkax._core.batch_writer import BatchWriter
from kafkax.errors import KafkaError

class CommitRequest:
    """A request whose partitions all may be committed as far as can be seen without the group.

    It is the records that it asks for, and its own answer; in order: ``read``, ``find``, ``apply``, ``write``, ``answer``.
    """

    @property
    def size(self) -> int:
        """Bytes that its records take in a batch at most; 0 before ``find``."""

    @property
    def names(self) -> list[str]:
        """Of the topics, after ``find``."""

    @property
    def who(self) -> bytes:
        """The frame up to its topics: the same, but for the correlation id, in every commit of the member by a connection."""

    @property
    def version(self) -> int: ...
    @property
    def group_id(self) -> str: ...
    @property
    def generation_id_or_member_epoch(self) -> int: ...
    @property
    def member_id(self) -> str: ...
    @property
    def group_instance_id(self) -> str | None: ...
    @staticmethod
    def read(frame: bytes, metadata_max: int) -> CommitRequest | None:
        """The request with its header; None when it is out of the ordinary, or does not parse.

        Args:
            frame: without its length. Ordinary versions are 5 to 10.
            metadata_max: ordinary metadata has at most so many bytes.
        """

    def find(self, topics: Mapping[str, Any], names: Mapping[UUID, str], make_id: Callable[[bytes], UUID]) -> bool:
        """Find the topics among a metadata image's, which have ``name``, ``topic_id`` and ``partitions``.

        Args:
            topics: by name.
            names: of topics by id.
            make_id: makes an id of 16 bytes.

        Returns:
            Whether all topics and partitions exist.
        """

    def apply(self, offsets: dict[tuple[str, int], Any], make: type[tuple[Any, ...]], timestamp_ms: int) -> None:
        """Put what is committed into the offsets of the group.

        Args:
            offsets: by topic and partition.
            make: the tuple of a committed offset: offset, leader epoch, metadata, commit timestamp, expiry (-1), topic id.
            timestamp_ms: wall time of the commit.
        """

    def write(self, batch: BatchWriter) -> None:
        """Add the records as they stand in ``__consumer_offsets`` (key version 1, value version 4), after ``apply``."""

    def promise(self, answer: Callable[[bytes], object], code_of: Callable[[KafkaError], int]) -> None:
        """Note whom to give the answer to, and how an error becomes a code."""

    def settle(self, error: KafkaError | None) -> None:
        """Answer, after ``promise``."""

    def undone(self, error: KafkaError) -> None:
        """Answer that nothing was committed, after ``promise``."""

    def answer(self, code: int = 0) -> bytes:
        """The response with its header: every partition with one error code."""
