"""Committed offsets of groups: commit, fetch, delete, expire.

An offset that a transaction commits is kept apart until the transaction ends.  Sources: KIP-98 (transactions),
KIP-211 (retention counts from when the group became empty), KIP-447 (unstable offsets), KIP-496 (deletion).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from uuid import UUID

from kafkax._core.commit_request import CommitRequest
from kafkax._core.committed import gather_commits, unpack_commits
from kafkax.coordinator.offset_records import NO_EXPIRY, CommittedOffset, OffsetRecord
from kafkax.coordinator.runtime import Producer
from kafkax.coordinator.undo import UndoDict, UndoLog
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)
from kafkax.protocol.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
)
from kafkax.protocol.messages.offset_fetch import (
    OffsetFetchRequestGroup,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)
from kafkax.protocol.schema import ZERO_UUID

__all__ = ["OffsetStore", "Partition", "topic_id_of"]

Partition = tuple[str, int]
"""Topic and index."""

_NO_OFFSET = -1
_ONE_PARTITION_OK = ErrorCode.NONE.value
_MOST_GATHERED = 4 << 20
"""Bytes of the log that a shard keeps as they are while it loads, before it makes objects of them."""


class OffsetStore:
    """The committed offsets of one shard.

    Args:
        undo: takes back what was replayed when the append fails.
        metadata_max_bytes: longest metadata of a commit (offset.metadata.max.bytes, which counts characters).
    """

    def __init__(self, undo: UndoLog, metadata_max_bytes: int = 4096) -> None:
        self._undo = undo
        self._metadata_max = metadata_max_bytes
        self._committed: UndoDict[str, UndoDict[Partition, CommittedOffset]] = UndoDict(undo)
        self._pending: UndoDict[int, UndoDict[tuple[str, str, int], CommittedOffset]] = UndoDict(undo)
        """By producer id, then group and partition: what open transactions would commit."""
        self._gathered: dict[str, list[bytes]] = {}
        """By group: records that were loaded, to be applied to its offsets before anybody looks at them."""
        self._gathered_bytes = 0

    def _offsets(self, group: str) -> UndoDict[Partition, CommittedOffset] | None:
        """The offsets of a group; None when it has none."""
        offsets = self._committed.get(group)
        if self._gathered and group in self._gathered:
            assert offsets is not None
            unpack_commits(self._gathered.pop(group), offsets, CommittedOffset, topic_id_of, ZERO_UUID)
        return offsets

    def _unpack_all(self) -> None:
        for group in list(self._gathered):
            self._offsets(group)
        self._gathered_bytes = 0

    # -- looking ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        self._unpack_all()
        return sum(len(offsets) for offsets in self._committed.values())

    def groups(self) -> Iterable[str]:
        """Groups with committed offsets."""
        return self._committed.keys()

    def get(self, group: str, topic: str, partition: int) -> CommittedOffset | None:
        """The committed offset of a partition, if there is one."""
        offsets = self._offsets(group)
        return None if offsets is None else offsets.get((topic, partition))

    def of(self, group: str) -> Iterator[tuple[Partition, CommittedOffset]]:
        """Everything that a group has committed."""
        yield from (self._offsets(group) or {}).items()

    def has_pending(self, group: str) -> bool:
        """Whether a transaction is open that would commit offsets of the group."""
        return any(key[0] == group for pending in self._pending.values() for key in pending)

    def is_pending(self, group: str, topic: str, partition: int) -> bool:
        """Whether an open transaction would commit an offset of the partition."""
        return any((group, topic, partition) in pending for pending in self._pending.values())

    # -- operations ------------------------------------------------------------------------------------------------

    def commit(
        self, request: OffsetCommitRequest, now_ms: int, refused: Mapping[Partition, ErrorCode]
    ) -> tuple[list[OffsetRecord], OffsetCommitResponse]:
        """Records and response of a commit.

        Args:
            request: topics carry names, and ids where they are known.
            now_ms: wall time.
            refused: partitions that the committer may not commit; like metadata that is too large, each fails by itself.
        """
        group, limit = request.group_id, self._metadata_max
        expire = NO_EXPIRY if request.retention_time_ms == -1 else now_ms + request.retention_time_ms
        records: list[OffsetRecord] = []
        topics: list[OffsetCommitResponseTopic] = []
        for topic in request.topics:
            partitions: list[OffsetCommitResponsePartition] = []
            for partition in topic.partitions:
                metadata = partition.committed_metadata or ""
                code = _ONE_PARTITION_OK
                if refused and (topic.name, partition.partition_index) in refused:
                    code = refused[topic.name, partition.partition_index].value
                elif len(metadata) > limit:
                    code = ErrorCode.OFFSET_METADATA_TOO_LARGE.value
                else:
                    committed = CommittedOffset(
                        partition.committed_offset, partition.committed_leader_epoch, metadata, now_ms, expire, topic.topic_id
                    )
                    records.append(OffsetRecord(group, topic.name, partition.partition_index, committed))
                partitions.append(OffsetCommitResponsePartition(partition_index=partition.partition_index, error_code=code))
            topics.append(OffsetCommitResponseTopic(name=topic.name, topic_id=topic.topic_id, partitions=partitions))
        return records, OffsetCommitResponse(topics=topics)

    def fetch(self, request: OffsetFetchRequestGroup, *, require_stable: bool, known: bool = True) -> OffsetFetchResponseGroup:
        """The committed offsets that are asked for; -1 where there is none.

        Args:
            request: topics None asks for all of the group's.
            require_stable: a partition that an open transaction would commit fails with UNSTABLE_OFFSET_COMMIT.
            known: whether the group exists; one that does not has no offsets.
        """
        group = request.group_id
        offsets: dict[Partition, CommittedOffset] = (self._offsets(group) if known else None) or {}
        unstable = require_stable and bool(self._pending)
        if request.topics is None:
            wanted: list[tuple[str, UUID, list[int]]] = _by_topic(offsets)
        else:
            wanted = [(topic.name, topic.topic_id, topic.partition_indexes) for topic in request.topics]
        topics: list[OffsetFetchResponseTopics] = []
        for name, topic_id, indexes in wanted:
            partitions = []
            for index in indexes:
                committed = offsets.get((name, index))
                if unstable and self.is_pending(group, name, index):
                    partitions.append(_unfetched(index, ErrorCode.UNSTABLE_OFFSET_COMMIT))
                elif committed is None or _other_topic(committed, topic_id):
                    partitions.append(_unfetched(index, ErrorCode.NONE))
                else:
                    partitions.append(
                        OffsetFetchResponsePartitions(
                            partition_index=index,
                            committed_offset=committed.offset,
                            committed_leader_epoch=committed.leader_epoch,
                            metadata=committed.metadata,
                        )
                    )
            topics.append(OffsetFetchResponseTopics(name=name, topic_id=topic_id, partitions=partitions))
        return OffsetFetchResponseGroup(group_id=group, topics=topics)

    def delete(
        self, request: OffsetDeleteRequest, subscribed: Callable[[str], bool]
    ) -> tuple[list[OffsetRecord], OffsetDeleteResponse]:
        """Records and response of a deletion; a topic that the group reads fails with GROUP_SUBSCRIBED_TO_TOPIC."""
        records: list[OffsetRecord] = []
        topics = []
        for topic in request.topics:
            code = ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if subscribed(topic.name) else ErrorCode.NONE
            partitions = []
            for partition in topic.partitions:
                index = partition.partition_index
                partitions.append(OffsetDeleteResponsePartition(partition_index=index, error_code=code))
                stored = self.get(request.group_id, topic.name, index) is not None
                if code == ErrorCode.NONE and (stored or self.is_pending(request.group_id, topic.name, index)):
                    records.append(OffsetRecord(request.group_id, topic.name, index, None))
            topics.append(OffsetDeleteResponseTopic(name=topic.name, partitions=partitions))
        return records, OffsetDeleteResponse(topics=topics)

    def delete_all(self, group: str) -> list[OffsetRecord]:
        """Tombstones for everything that a group has committed or would commit."""
        partitions = dict.fromkeys(self._offsets(group) or {})
        for pending in self._pending.values():
            partitions.update(dict.fromkeys((topic, index) for name, topic, index in pending if name == group))
        return [OffsetRecord(group, topic, index, None) for topic, index in partitions]

    def delete_topics(self, topics: Collection[str]) -> list[OffsetRecord]:
        """Tombstones for the offsets of topics that exist no more."""
        self._unpack_all()
        return [
            OffsetRecord(group, topic, index, None)
            for group, offsets in self._committed.items()
            for topic, index in offsets
            if topic in topics
        ]

    def expired(
        self, group: str, now_ms: int, retention_ms: int, base_ms: Callable[[CommittedOffset], int], keep: Callable[[str], bool]
    ) -> list[OffsetRecord]:
        """Tombstones for what has outlived its retention.

        Args:
            group: whose offsets.
            now_ms: wall time.
            retention_ms: offsets.retention.minutes.
            base_ms: when the retention of an offset begins.
            keep: topics whose offsets stay in any case.
        """
        records = []
        for (topic, index), committed in (self._offsets(group) or {}).items():
            own = committed.expire_timestamp_ms
            over = now_ms >= own if own != NO_EXPIRY else now_ms - base_ms(committed) >= retention_ms
            if over and not keep(topic) and not self.is_pending(group, topic, index):
                records.append(OffsetRecord(group, topic, index, None))
        return records

    # -- replay ----------------------------------------------------------------------------------------------------

    def replay(self, record: OffsetRecord, producer: Producer | None = None) -> None:
        """Apply a commit, or a deletion, which also drops what open transactions would commit."""
        group, topic, partition, committed = record
        if committed is None:
            self._drop(group, (topic, partition))
            for producer_id in [each for each, pending in self._pending.items() if (group, topic, partition) in pending]:
                pending = self._pending[producer_id]
                del pending[group, topic, partition]
                if not pending:
                    del self._pending[producer_id]
        elif producer is None:
            offsets = self._offsets(group)
            if offsets is None:
                offsets = self._committed[group] = UndoDict(self._undo)
            offsets[topic, partition] = committed
        else:
            pending_offsets = self._pending.get(producer.id)
            if pending_offsets is None:
                pending_offsets = self._pending[producer.id] = UndoDict(self._undo)
            pending_offsets[group, topic, partition] = committed

    def load(
        self, piece: bytes, position: int, begin: Callable[[str], None], other: Callable[[bytes, bytes | None], object]
    ) -> int:
        """Apply commits of plain batches of the log from ``position`` on, while nothing of the shard's own is to be undone.

        They are only sorted by group here: most of a million offsets are not asked for soon, and objects of them take time.

        Args:
            piece: of the log.
            position: where to begin.
            begin: told each group whose offsets come, once or more often.
            other: gets key and value of every other record, in its place.

        Returns:
            Where that ended: see :func:`kafkax._core.committed.gather_commits`.
        """

        def first(group: str) -> None:
            begin(group)
            if group not in self._committed:
                dict.__setitem__(self._committed, group, UndoDict(self._undo))

        end = gather_commits(piece, position, self._gathered, first, other)
        self._gathered_bytes += end - position
        if self._gathered_bytes > _MOST_GATHERED:
            self._unpack_all()
        return end

    def keep(self, commit: CommitRequest, now_ms: int) -> None:
        """Apply a commit in its ordinary form, which is its own record."""
        offsets = self._offsets(commit.group_id)
        if offsets is None:
            offsets = self._committed[commit.group_id] = UndoDict(self._undo)
        commit.apply(offsets, CommittedOffset, now_ms)

    def end_transaction(self, producer_id: int, *, commit: bool) -> None:
        """Apply the end of a producer's transaction."""
        pending = self._pending.pop(producer_id, {})
        if commit:
            for (group, topic, partition), committed in pending.items():
                self.replay(OffsetRecord(group, topic, partition, committed))

    def _drop(self, group: str, partition: Partition) -> None:
        offsets = self._offsets(group)
        if offsets is not None and partition in offsets:
            del offsets[partition]
            if not offsets:
                del self._committed[group]


def topic_id_of(raw: bytes) -> UUID:
    """The id that 16 bytes are."""
    return UUID(bytes=raw)


def _by_topic(offsets: dict[Partition, CommittedOffset]) -> list[tuple[str, UUID, list[int]]]:
    indexes: dict[str, list[int]] = {}
    for topic, index in offsets:
        indexes.setdefault(topic, []).append(index)
    return [(topic, ZERO_UUID, found) for topic, found in indexes.items()]


def _other_topic(committed: CommittedOffset, topic_id: UUID) -> bool:
    """Whether the offset belongs to an earlier topic of the same name."""
    return ZERO_UUID not in (committed.topic_id, topic_id) and committed.topic_id != topic_id


def _unfetched(index: int, code: ErrorCode) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(partition_index=index, committed_offset=_NO_OFFSET, metadata="", error_code=code)
