"""Committed offsets that were loaded from the log are kept as records until somebody looks at their group."""

from __future__ import annotations

import pytest

from kafkax.coordinator import offsets as module
from kafkax.coordinator.offset_records import CommittedOffset, OffsetRecord, decode_key, encode_key, encode_value
from kafkax.coordinator.offsets import OffsetStore
from kafkax.coordinator.undo import UndoLog
from kafkax.protocol.messages.offset_fetch import OffsetFetchRequestGroup
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch

RETENTION_MS = 1_000


class Loaded:
    """A store that has loaded some records: group, topic, partition and offset; None deletes."""

    def __init__(self, *records: tuple[str, str, int, int | None]) -> None:
        self.undo = UndoLog()
        self.store = OffsetStore(self.undo)
        self.begun: list[str] = []
        for group, topic, partition, offset in records:
            value = None if offset is None else encode_value(CommittedOffset(offset, commit_timestamp_ms=0))
            piece = build_batch([Record(encode_key(group, topic, partition), value, (), 5)])
            assert self.store.load(piece, 0, self.begun.append, self._other) == len(piece)
        self.undo.active = True

    def _other(self, key: bytes, value: bytes | None) -> None:
        assert value is None
        self.store.replay(OffsetRecord(*decode_key(key), None))

    def offsets(self, group: str) -> dict[tuple[str, int], int]:
        return {partition: committed.offset for partition, committed in self.store.of(group)}


def loaded() -> Loaded:
    return Loaded(("g", "a", 0, 1), ("h", "a", 0, 2), ("g", "a", 0, 3), ("g", "b", 1, 4), ("h", "a", 0, None), ("h", "a", 1, 5))


def test_the_last_record_of_a_partition_counts() -> None:
    found = loaded()
    assert list(found.store.groups()) == ["g", "h"]
    assert found.offsets("g") == {("a", 0): 3, ("b", 1): 4}
    assert found.offsets("h") == {("a", 1): 5}, "it was deleted, and then committed elsewhere"
    assert len(found.store) == 3


def test_they_are_there_for_whoever_looks_first() -> None:
    assert loaded().store.get("g", "b", 1) == CommittedOffset(4, commit_timestamp_ms=0)
    (topic, *_) = loaded().store.fetch(OffsetFetchRequestGroup(group_id="g", topics=None), require_stable=False).topics
    assert [each.committed_offset for each in topic.partitions] == [3]
    assert {(each.topic, each.partition) for each in loaded().store.delete_all("g")} == {("a", 0), ("b", 1)}
    assert {each.group for each in loaded().store.delete_topics({"a"})} == {"g", "h"}
    late = loaded().store.expired("h", RETENTION_MS, RETENTION_MS, lambda each: each.commit_timestamp_ms, lambda _: False)
    assert late == [OffsetRecord("h", "a", 1, None)]


def test_what_is_committed_afterwards_counts_more_and_can_be_taken_back() -> None:
    found = loaded()
    mark = found.undo.mark()
    found.store.replay(OffsetRecord("g", "a", 0, CommittedOffset(9)))
    assert found.offsets("g") == {("a", 0): 9, ("b", 1): 4}
    found.undo.rollback(mark)
    assert found.offsets("g") == {("a", 0): 3, ("b", 1): 4}


def test_a_group_whose_offsets_are_all_deleted_is_gone() -> None:
    found = loaded()
    found.store.replay(OffsetRecord("h", "a", 1, None))
    assert list(found.store.groups()) == ["g"]
    assert found.offsets("h") == {}


def test_no_more_than_some_records_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_GATHERED", 0)
    found = loaded()
    assert found.offsets("g") == {("a", 0): 3, ("b", 1): 4}
    assert found.offsets("h") == {("a", 1): 5}
