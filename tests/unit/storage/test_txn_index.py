from __future__ import annotations

from pathlib import Path

import pytest

from kafkax.storage.files import MalformedFile
from kafkax.storage.txn_index import AbortedTransaction, encode_transaction, parse_transactions, read_transactions
from tests.reference import reference

FIRST, SECOND = AbortedTransaction(1, 0, 10, 3), AbortedTransaction(2, 4, 12, 13)


def test_entries_follow_each_other_in_the_order_of_their_markers(tmp_path: Path) -> None:
    path = tmp_path / "00000000000000000000.txnindex"
    path.write_bytes(encode_transaction(FIRST) + encode_transaction(SECOND))
    assert read_transactions(path) == [FIRST, SECOND]
    with pytest.raises(MalformedFile, match="out of order"):
        parse_transactions(path, encode_transaction(SECOND) + encode_transaction(FIRST))


def test_no_file_no_aborted_transactions(tmp_path: Path) -> None:
    assert read_transactions(tmp_path / "absent.txnindex") == []


@pytest.mark.parametrize(
    "content",
    [
        encode_transaction(FIRST)[:-1],
        b"\x00\x01" + encode_transaction(FIRST)[2:],
        encode_transaction(AbortedTransaction(1, 5, 4, 5)),
        encode_transaction(AbortedTransaction(1, -1, 4, 5)),
    ],
)
def test_what_is_malformed_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedFile):
        parse_transactions(Path("file"), content)


def test_markers_before_the_segment_are_refused() -> None:
    with pytest.raises(MalformedFile, match="out of order"):
        parse_transactions(Path("file"), encode_transaction(FIRST), base_offset=11)


def test_kafkas_own_index_is_read() -> None:
    path = reference("logs", "kafka-4.3.1", "g1-3", "00000000000000000000.txnindex")
    (transaction,) = read_transactions(path)
    assert transaction == AbortedTransaction(producer_id=1004, first_offset=81, last_offset=86, last_stable_offset=87)
    assert encode_transaction(transaction) == path.read_bytes()
