"""Control records."""

from __future__ import annotations

import pytest

from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.control import ControlType, end_transaction_batch
from kafkax.protocol.coordinator_records.markers import EndTxnMarker
from kafkax.protocol.record import Record
from kafkax.protocol.records import RecordBatch, iter_batches


@pytest.mark.parametrize(("commit", "kind"), [(True, ControlType.COMMIT), (False, ControlType.ABORT)])
def test_the_batch_that_ends_a_transaction(commit: bool, kind: ControlType) -> None:
    data = end_transaction_batch(commit, producer_id=9, producer_epoch=4, coordinator_epoch=6, timestamp=1000, base_offset=3)
    (batch,) = iter_batches(data)
    assert isinstance(batch, RecordBatch)
    batch.check()
    assert (batch.control, batch.transactional, batch.producer_id, batch.producer_epoch) == (True, True, 9, 4)
    assert (batch.base_offset, batch.base_sequence, batch.max_timestamp) == (3, -1, 1000)
    (record,) = batch.records()
    assert ControlType.of(record) is kind
    assert record.key == bytes((0, 0, 0, int(commit)))
    assert EndTxnMarker.from_bytes(record.value or b"") == EndTxnMarker(coordinator_epoch=6)
    assert record.value == bytes.fromhex("0000" "00000006")


def test_a_kind_that_came_later() -> None:
    assert ControlType.of(Record(key=bytes.fromhex("00000063"))) is ControlType.UNKNOWN


@pytest.mark.parametrize("key", [None, b"", b"\0\0\0"])
def test_a_key_without_type(key: bytes | None) -> None:
    with pytest.raises(KafkaError) as caught:
        ControlType.of(Record(key=key, offset=8))
    assert caught.value.code is ErrorCode.INVALID_RECORD
