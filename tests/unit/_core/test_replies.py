"""Plain answers are read as the schema reads them; everything else is left to it."""

from __future__ import annotations

from uuid import UUID

import pytest

from kafkax._core.replies import plain_fetch, plain_produce
from kafkax.protocol.headers import response_header
from kafkax.protocol.messages.fetch import AbortedTransaction, FetchableTopicResponse, FetchResponse, PartitionData
from kafkax.protocol.messages.produce import PartitionProduceResponse, ProduceResponse, TopicProduceResponse

FETCH, PRODUCE = 1, 0
FIRST, SECOND = UUID(int=1), UUID(int=2)


def fetched(version: int, *partitions: PartitionData, **more: int) -> memoryview:
    topics = [FetchableTopicResponse(topic_id=each, partitions=list(partitions)) for each in (FIRST, SECOND)]
    answer = FetchResponse(session_id=9, responses=topics if partitions else [], **more)
    return memoryview(response_header(FETCH, version, 3) + answer.encode(version))


def produced(*partitions: PartitionProduceResponse) -> memoryview:
    answer = ProduceResponse(responses=[TopicProduceResponse(topic_id=FIRST, partition_responses=list(partitions))])
    return memoryview(response_header(PRODUCE, 13, 3) + answer.encode(13))


@pytest.mark.parametrize("version", range(13, FetchResponse.max_version + 1))
def test_a_plain_fetch(version: int) -> None:
    data = PartitionData(partition_index=4, high_watermark=10, last_stable_offset=9, log_start_offset=2, records=b"xyz")
    empty = PartitionData(partition_index=5, high_watermark=7, last_stable_offset=7, log_start_offset=0)
    answer = plain_fetch(fetched(version, data, empty))
    assert answer == (
        9,
        [each for name in (FIRST.bytes, SECOND.bytes) for each in ((name, 4, 10, 9, 2, b"xyz"), (name, 5, 7, 7, 0, None))],
    )
    assert plain_fetch(fetched(version)) == (9, [])


@pytest.mark.parametrize(
    "unusual",
    [
        {"error_code": 1},
        {"preferred_read_replica": 3},
        {"aborted_transactions": [AbortedTransaction(producer_id=1, first_offset=2)]},
        {"diverging_epoch": {"epoch": 3}},
    ],
)
def test_an_unusual_fetch_is_left_to_the_schema(unusual: dict[str, object]) -> None:
    data = PartitionData(partition_index=4, high_watermark=10, records=b"xyz")
    for name, value in unusual.items():
        if name == "diverging_epoch":
            data.diverging_epoch.epoch = 3
        else:
            setattr(data, name, value)
    assert plain_fetch(fetched(13, data)) is None
    assert plain_fetch(fetched(13, error_code=70)) is None


def test_a_plain_and_an_unusual_produce() -> None:
    good = PartitionProduceResponse(index=1, base_offset=5, log_append_time_ms=77)
    bad = PartitionProduceResponse(index=2, error_code=6)
    told = PartitionProduceResponse(index=2, error_message="why")
    assert plain_produce(produced(good)) == [(FIRST.bytes, 1, 5, 77)]
    assert plain_produce(produced(good, bad)) is None
    assert plain_produce(produced(told)) is None


def test_no_cut_or_changed_answer_is_read_out_of_bounds() -> None:
    data = PartitionData(partition_index=4, high_watermark=10, records=b"xyz")
    for read, whole in ((plain_fetch, fetched(17, data, data)), (plain_produce, produced(PartitionProduceResponse(index=1)))):
        for size in range(4, len(whole)):
            assert read(memoryview(bytes(whole[:size]))) is None
        for at in range(4, len(whole)):
            for value in (0, 0x7F, 0x80, 0xFF):
                changed = bytearray(whole)
                changed[at] = value
                read(memoryview(bytes(changed)))
