"""What no list of cases foresees: generated Produce and Fetch frames get the same bytes from the core and from the handlers.

The topics that are asked about have had a life: batches of two leader epochs, transactions that were aborted, committed and are
open, records that were deleted, a topic that is gone.  Odd requests that can be named stand in ``test_parity``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.protocol.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntryData,
    EntityData,
    OpData,
)
from kafkax.protocol.messages.delete_records import DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic
from kafkax.protocol.messages.delete_topics import DeleteTopicsRequest
from kafkax.protocol.messages.fetch import FetchResponse
from kafkax.protocol.messages.produce import ProduceResponse
from tests.system.odd_batches import ABORTED, COMMITTED, NOW, OPEN, RECORDS, records
from tests.system.odd_frames import (
    FETCH_VERSIONS,
    PRODUCE_VERSIONS,
    Body,
    Part,
    Place,
    Topic,
    fetch_requests,
    produce_requests,
    sound,
    written,
)
from tests.system.parity import CLOSED, Pair, pair
from tests.unit._core.batches import marker

NAMES = ["lively", "lively", "compact", "compact", "bounded", "bounded", "zipped", "plain", "two"]
"""Topics that generated requests name, each with rules of its own."""
VALUES = range(256) if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else (0, 0x80, 0xFF)
"""What a byte is turned into."""
PRODUCES, FETCHES = produce_requests(NAMES, RECORDS), fetch_requests(NAMES)


def lead(both: Pair) -> None:
    """Topics with records of leader epoch 0, some of them deleted again, and then another leader epoch's.

    Transactions are written as their coordinator would.
    """
    both.create("lively", 3)
    both.create("compact", 2, cleanup_policy="compact", segment_bytes="300", max_message_bytes="2000")
    both.create("bounded", 2, message_timestamp_before_max_ms="3600000", message_timestamp_after_max_ms="3600000")
    both.create("zipped", 2, compression_type="zstd", cleanup_policy="compact", message_timestamp_before_max_ms="3600000")
    both.create("plain", 2, compression_type="uncompressed", kafkax_decompressed_max_bytes="2000")
    both.create("two", 2)
    both.create("gone", 2)
    for name, index in (("lively", 0), ("lively", 1), ("compact", 0)):
        for value in (b"a", b"b" * 300, b"c", b"d"):
            both.same(written(produce(name, index, records(value, value)), both.ids))
    for server, admin in zip(both.servers, both.admins, strict=True):
        some = DeleteRecordsTopic(name="lively", partitions=[DeleteRecordsPartition(partition_index=1, offset=3)])
        (answer,) = admin.ask(DeleteRecordsRequest(topics=[some], timeout_ms=60_000), 2).topics
        assert answer.partitions[0].error_code == 0
        (deleted,) = admin.ask(DeleteTopicsRequest(topic_names=["gone"], timeout_ms=60_000), 5).responses
        assert deleted.error_code == 0, deleted.error_message
        for name, index in (("lively", 0), ("lively", 1), ("lively", 2), ("compact", 0), ("compact", 1)):
            server.services.partition(name, index).become_leader(1)
        for index in (0, 1):
            server.services.partition("two", index).set_in_sync(1, 2)
        log = server.services.partition("lively", 2).log
        for producer in (ABORTED, COMMITTED, OPEN):
            data = records(b"in doubt", b"still", producer_id=producer, epoch=0, sequence=0, attributes=0x10)
            log.append(data, leader_epoch=1, origin="coordinator", now_ms=NOW)
        for producer, commit in ((ABORTED, False), (COMMITTED, True)):
            data = marker(producer, 0, commit=commit, timestamp=NOW)
            log.append(data, leader_epoch=1, origin="coordinator", now_ms=NOW)
    for name in ("lively", "compact"):
        both.same(written(produce(name, 0, records(b"later", b"on")), both.ids))


def produce(name: str, index: int, data: bytes | None, version: int = 9, **fields: Any) -> Body:
    return Body(0, version, fields, (Topic(name, (Part(index, data),)),))


def fetch(name: str, *places: Place, version: int = 12, **fields: Any) -> Body:
    return Body(1, version, fields, (Topic(name, places),))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("parity") / "data") as opened:
        lead(opened)
        yield opened


class Tail:
    """What was appended since it was asked for last."""

    def __init__(self, both: Pair) -> None:
        self._both = both
        self._places = {name: [Place(index) for index in range(3 if name == "lively" else 2)] for name in NAMES}

    def same(self) -> None:
        """The records must be the same."""
        asked = tuple(Topic(name, tuple(places)) for name, places in self._places.items())
        answer = self._both.same(written(Body(1, 12, {"isolation_level": 0}, asked), self._both.ids))
        for topic in FetchResponse.decode(answer[5:], 12).responses:
            self._places[topic.topic] = [Place(part.partition_index, part.high_watermark) for part in topic.partitions]


@pytest.fixture(scope="module")
def tail(both: Pair) -> Tail:
    return Tail(both)


@given(bodies=st.lists(PRODUCES, min_size=1, max_size=5))
def test_produce_requests_of_any_kind(both: Pair, tail: Tail, bodies: list[Body]) -> None:
    for body in bodies:
        both.same(written(body, both.ids), silent=True)
    tail.same()


@given(body=FETCHES)
def test_fetch_requests_of_any_kind(both: Pair, body: Body) -> None:
    both.same(written(body, both.ids), silent=True)


def several(bodies: st.SearchStrategy[Body]) -> st.SearchStrategy[list[Body]]:
    """Requests the last of which may close the connection."""
    return st.tuples(st.lists(bodies.map(sound), min_size=1, max_size=6), bodies).map(lambda drawn: [*drawn[0], drawn[1]])


# Of one kind, since the core's answer to a Fetch may be older than a Produce before it that the control plane has.
@given(bodies=st.one_of(several(PRODUCES), several(FETCHES)))
def test_requests_that_are_sent_at_once_are_answered_even_if_the_last_one_closes_the_connection(
    both: Pair, bodies: list[Body]
) -> None:
    answers = both.same_all([written(body, both.ids, correlation_id=at) for at, body in enumerate(bodies)])
    due = len(bodies) - 1
    assert [struct.unpack_from(">i", answer) for answer in answers[:due]] == [(at,) for at in range(due)]


@given(bodies=st.one_of(*(st.lists(bodies, min_size=2, max_size=7) for bodies in (PRODUCES, FETCHES))))
def test_of_requests_that_are_sent_at_once_those_up_to_the_one_that_closes_the_connection_count(
    both: Pair, tail: Tail, bodies: list[Body]
) -> None:
    both.same_all([written(body, both.ids, correlation_id=at) for at, body in enumerate(bodies)])
    tail.same()


@given(
    values=st.lists(RECORDS, min_size=2, max_size=40), acks=st.sampled_from([1, -1]), version=st.sampled_from(PRODUCE_VERSIONS)
)
def test_requests_for_one_partition_that_are_sent_at_once(
    both: Pair, values: list[bytes | None], acks: int, version: int
) -> None:
    bodies = [produce("lively", 0, value, version, acks=acks) for value in values]
    assert len(both.same_all([written(body, both.ids, correlation_id=at) for at, body in enumerate(bodies)])) == len(bodies)


@pytest.mark.parametrize("version", PRODUCE_VERSIONS)
def test_the_core_answers_ordinary_produce_requests_itself(both: Pair, version: int) -> None:
    before = both.handed_over()
    for acks in (1, -1):
        both.same(written(produce("lively", 0, records(b"v"), version, acks=acks), both.ids))
    assert both.handed_over() == before


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_the_core_answers_ordinary_fetch_requests_itself(both: Pair, version: int) -> None:
    before = both.handed_over()
    for isolation in (0, 1):
        asked = fetch("lively", Place(0), Place(2), version=version, isolation_level=isolation)
        both.same(written(asked, both.ids))
    assert both.handed_over() == before


EVERY_VERSION = [(0, version) for version in PRODUCE_VERSIONS] + [(1, version) for version in FETCH_VERSIONS]


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION)
def test_any_byte_may_be_another(both: Pair, key: int, version: int) -> None:
    more = ((99, b"abc"),)
    if key == 0:
        body = produce("lively", 0, records(b"v"), version, transactional_id="tx")
        body = body._replace(topics=(Topic("lively", (Part(0, records(b"v"), more),), tags=more),))
    else:
        body = fetch("lively", Place(0, 5), Place(2, 1, 100), version=version, rack_id="r", forgotten=(Topic("lively", (0, 1)),))
    body = body._replace(header_tags=more, tags=more)
    whole = written(body, both.ids)
    frames = {
        written(body._replace(damage=("byte", at, value)), both.ids) for at in range(len(whole)) for value in VALUES
    }
    answers = {both.same(frame, silent=True) for frame in sorted(frames - {whole})}
    assert CLOSED in answers
    assert len(answers) > 20


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION)
def test_a_frame_that_is_cut_off_anywhere_closes_the_connection_and_bytes_behind_it_are_answered_alike(
    both: Pair, key: int, version: int
) -> None:
    body = produce("lively", 0, records(b"v"), version) if key == 0 else fetch("lively", Place(0), version=version)
    frame = written(body, both.ids)
    for size in range(8, len(frame)):
        assert both.same(frame[:size], silent=True) == CLOSED, f"{size} of {len(frame)} bytes"
    for more in (b"\0", b"\xff" * 4, bytes(100), frame):
        both.same(frame + more, silent=True)


@pytest.mark.parametrize(("key", "version"), [(0, -1), (0, 1), (0, 2), (0, 14), (0, 32767), (1, 0), (1, 3), (1, 19), (1, -1)])
def test_versions_that_are_not_served(both: Pair, key: int, version: int) -> None:
    body = produce("lively", 0, records(b"v"), 9) if key == 0 else fetch("lively", Place(0), version=12)
    frame = bytearray(written(body, both.ids))
    struct.pack_into(">h", frame, 2, version)
    both.same(bytes(frame), silent=True)


@pytest.mark.parametrize("version", range(9, 19))
def test_leader_epochs_that_are_over_the_present_one_and_unknown_ones(both: Pair, version: int) -> None:
    codes = []
    for epoch in (0, 1, 2):
        asked = fetch("lively", Place(0, epoch=epoch), version=version)
        answer = both.same(written(asked, both.ids))
        decoded = FetchResponse.decode(answer[5 if version >= 12 else 4 :], version)
        codes.append(decoded.responses[0].partitions[0].error_code)
    assert codes == [74, 0, 75], "FENCED_LEADER_EPOCH, none, UNKNOWN_LEADER_EPOCH"


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_transactions_that_were_aborted_or_are_open(both: Pair, version: int) -> None:
    for offset in range(9):
        for limit in (1 << 20, 100):
            for isolation in (0, 1):
                asked = fetch("lively", Place(2, offset, limit), version=version, isolation_level=isolation)
                both.same(written(asked, both.ids))
    whole = both.same(written(fetch("lively", Place(2), version=version, isolation_level=1), both.ids))
    part = FetchResponse.decode(whole[5 if version >= 12 else 4 :], version).responses[0].partitions[0]
    assert part.aborted_transactions is not None
    assert [each.producer_id for each in part.aborted_transactions] == [ABORTED]
    assert part.last_stable_offset < part.high_watermark


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_a_fetch_that_waits_is_answered_alike_by_what_ends_the_wait(both: Pair, version: int) -> None:
    name = both.create(f"awaited-{version}", 2)
    logs = [server.services.partition(name, 0).log for server in both.servers]
    both.same(written(produce(name, 0, records(b"first", b"second")), both.ids))

    def append(*values: bytes) -> None:
        both.same(written(produce(name, 0, records(*values)), both.ids))

    def decide(data: bytes) -> None:
        for server, log in zip(both.servers, logs, strict=True):
            log.append(data, leader_epoch=0, origin="coordinator", now_ms=NOW)
            server.services.partition(name, 0).settle()

    def lead(epoch: int) -> None:
        for server in both.servers:
            server.services.partition(name, 0).become_leader(epoch)

    def waits(offset: int, other: int, event: Callable[[], object], **fields: Any) -> None:
        asked = fetch(name, Place(0, offset), Place(1, other), version=version, **{"max_wait_ms": 60_000, **fields})
        both.same_later(written(asked, both.ids), event)

    waits(2, 0, lambda: append(b"third"))
    waits(3, 0, lambda: [append(b"x" * 60), append(b"y" * 60)], min_bytes=200)
    waits(5, 0, lambda: both.same(written(produce(name, 1, records(b"other")), both.ids)))
    decide(records(b"in doubt", producer_id=OPEN, epoch=0, sequence=0, attributes=0x10))
    waits(5, 1, lambda: decide(marker(OPEN, 0, commit=False, timestamp=NOW)), isolation_level=1)
    waits(7, 1, lambda: lead(3), min_bytes=1000, max_wait_ms=100)
    waits(7, 1, lambda: None, max_wait_ms=20)


@pytest.mark.parametrize("version", [3, 9, 13])
def test_who_is_throttled_is_told_alike_but_for_how_long(both: Pair, version: int) -> None:
    def limit(client: str, rate: float | None) -> None:
        op = OpData(key="producer_byte_rate", value=rate or 0.0, remove=rate is None)
        entity = [EntityData(entity_type="client-id", entity_name=client)]
        entry = AlterClientQuotasRequestEntryData(entity=entity, ops=[op])
        for admin in both.admins:
            (answer,) = admin.ask(AlterClientQuotasRequest(entries=[entry]), 1).entries
            assert answer.error_code == 0, answer.error_message

    client = f"slow-{version}"
    limit(client, 1000.0)
    try:
        body = produce("lively", 0, records(b"x" * 12_000), version)._replace(client=client)
        ours, theirs = both.ask(written(body, both.ids))
        first, second = (ProduceResponse.decode(answer[5 if version >= 9 else 4 :], version) for answer in (ours, theirs))
        assert first.throttle_time_ms > 0
        assert second.throttle_time_ms > 0
        first.throttle_time_ms = second.throttle_time_ms = 0
        assert first.encode(version) == second.encode(version)
    finally:
        limit(client, None)
        both.connect()  # what was throttled is not read for a while
