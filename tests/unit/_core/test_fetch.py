"""Fetch in the core: the right bytes, in Kafka's order, when there are enough of them or when the time is over."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from kafkax.errors import ErrorCode
from kafkax.protocol.headers import request_header
from kafkax.protocol.messages.fetch import (
    AbortedTransaction,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ForgottenTopic,
    ReplicaState,
)
from kafkax.protocol.records import Record, build_batch
from tests.unit._core.topics import Topics, answer, ask, batch, encode, fetch, fetched, serving
from tests.unit._core.wire import Client, frame

VERSIONS = range(4, 19)
Key = tuple[str, int]


def named(topics: Topics, version: int, *keys: Key) -> list[tuple[str | UUID, int]]:
    """The keys as an answer of the version names them."""
    return [(topics.ids[topic] if version >= 13 else topic, index) for topic, index in keys]


def get(client: Client, request: FetchRequest, version: int = 12) -> FetchResponse:
    return ask(client, request, version, FetchResponse)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_reads_what_is_there(version: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t").append(batch(b"a", b"b"))
        response = get(broker.client(), fetch(topics, {("t", 0): 0}, version), version)
        assert fetched(response) == {named(topics, version, ("t", 0))[0]: (0, [b"a", b"b"])}
        part = response.responses[0].partitions[0]
        assert (part.high_watermark, part.last_stable_offset) == (2, 2)
        assert part.log_start_offset == (0 if version >= 5 else -1)
        assert part.aborted_transactions is None
        assert part.preferred_read_replica == -1
        assert (response.throttle_time_ms, response.error_code, response.session_id) == (0, 0, 0)
        assert broker.reactor.counters()["handed_over"] == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("isolation", [0, 1])
def test_answers_are_encoded_as_the_declarations_say(version: int, isolation: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        for index in range(3):
            topics.add("t", index).append(batch(os.urandom(30_000)))
        client = broker.client()
        unknown: str | UUID = uuid4() if version >= 13 else "nope"
        wanted = {("t", 0): 0, ("t", 1): 1, (unknown, 0): 0, ("t", 2): 99, ("t", 7): 0}
        client.send(encode(fetch(topics, wanted, version, isolation_level=isolation), version, 5))
        body = client.receive()[5 if version >= 12 else 4 :]
        assert FetchResponse.decode(body, version).encode(version) == body


@pytest.mark.parametrize("version", [4, 12, 13, 18])
def test_unknown_partitions_come_last_and_each_with_its_error(version: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t").append(batch(b"a"))
        unknown: str | UUID = uuid4() if version >= 13 else "nope"
        response = get(broker.client(), fetch(topics, {(unknown, 0): 0, ("t", 0): 0, ("t", 9): 0}, version), version)
        code = ErrorCode.UNKNOWN_TOPIC_ID if version >= 13 else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        t = named(topics, version, ("t", 0))[0][0]
        assert list(fetched(response).items()) == [
            ((t, 0), (0, [b"a"])),
            ((unknown, 0), (code, [])),
            ((t, 9), (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, [])),
        ]
        refused = response.responses[1].partitions[0]
        assert (refused.high_watermark, refused.last_stable_offset, refused.log_start_offset) == (-1, -1, -1)
        assert refused.aborted_transactions == []


@pytest.mark.parametrize(
    ("offset", "epoch", "error"),
    [
        (99, -1, ErrorCode.OFFSET_OUT_OF_RANGE),
        (-1, -1, ErrorCode.OFFSET_OUT_OF_RANGE),
        (0, 0, ErrorCode.FENCED_LEADER_EPOCH),
        (0, 2, ErrorCode.UNKNOWN_LEADER_EPOCH),
        (0, 1, ErrorCode.NONE),
    ],
)
def test_an_error_is_answered_at_once_with_nothing_else(offset: int, epoch: int, error: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t").append(batch(b"a"))
        request = fetch(topics, {("t", 0): offset}, leader_epoch=epoch, max_wait_ms=60_000)
        part = get(broker.client(), request).responses[0].partitions[0]
        assert part.error_code == error
        if error:
            assert (part.high_watermark, part.last_stable_offset, part.log_start_offset) == (-1, -1, -1)
            assert part.aborted_transactions is None


def test_a_follower_s_partition_is_not_served(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t").become_follower(2)
        response = get(broker.client(), fetch(topics, {("t", 0): 0}))
        assert fetched(response)["t", 0][0] == ErrorCode.NOT_LEADER_OR_FOLLOWER


@pytest.mark.parametrize("version", [12, 13])
def test_what_another_broker_may_lead_is_the_control_plane_s_to_tell(version: int, tmp_path: Path) -> None:
    with serving(tmp_path, elsewhere=True) as (topics, broker):
        topics.add("t").append(batch(b"a"))
        topics.add("t", 1).become_follower(2)
        client = broker.client()
        for other in (1, 2):
            request = fetch(topics, {("t", 0): 0, ("t", other): 0}, version, session_epoch=0)
            client.send(encode(request, version))
            (handed,) = broker.handed(1)
            assert handed.frame == encode(request, version)[4:]
            broker.reactor.skip(handed.connection, handed.token)
        session = get(client, fetch(topics, {("t", 0): 1}, version, session_epoch=0), version).session_id
        added = fetch(topics, {("t", 1): 0, ("t", 2): 0}, version, session_id=session, session_epoch=1)
        told = fetched(get(client, added, version))
        assert {error for error, _ in told.values()} == {ErrorCode.NOT_LEADER_OR_FOLLOWER}
        assert len(told) == 2


def test_a_fetch_that_starts_inside_a_batch_gets_the_whole_batch(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t")
        partition.append(batch(b"a", b"b", b"c"))
        partition.append(batch(b"d"))
        assert fetched(get(broker.client(), fetch(topics, {("t", 0): 1})))["t", 0] == (0, [b"a", b"b", b"c", b"d"])


def test_at_least_one_batch_comes_though_it_is_larger_than_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        for index in range(3):
            topics.add("t", index).append(batch(os.urandom(5000)))
        client = broker.client()
        wanted = {("t", n): 0 for n in range(3)}
        got = fetched(get(client, fetch(topics, wanted, max_bytes=100)))
        assert [len(values) for _, values in got.values()] == [1, 0, 0]
        got = fetched(get(client, fetch(topics, wanted, partition_max_bytes=100)))
        assert [len(values) for _, values in got.values()] == [1, 0, 0]
        got = fetched(get(client, fetch(topics, wanted, max_bytes=12_000)))
        assert [len(values) for _, values in got.values()] == [1, 1, 0]


def test_a_batch_that_does_not_fit_is_left_out_whole(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        for index in range(3):
            topics.add("t", index).append(batch(os.urandom(1000)))
        wanted = {("t", n): 0 for n in range(3)}
        request = fetch(topics, wanted, max_bytes=1500, isolation_level=1)
        parts = get(broker.client(), request).responses[0].partitions
        assert [len(part.records) > 1000 for part in parts] == [True, False, False]
        assert [len(part.records) for part in parts[1:]] == [0, 0]
        # Where some room was left the list is null, where none was it is empty: so Kafka answers.
        assert [part.aborted_transactions for part in parts] == [[], None, None]
        parts = get(broker.client(), fetch(topics, wanted, max_bytes=1, isolation_level=1)).responses[0].partitions
        assert [part.aborted_transactions for part in parts] == [[], [], []]


def test_the_broker_s_own_limit_holds_too(tmp_path: Path) -> None:
    with serving(tmp_path, fetch_max_bytes=6000) as (topics, broker):
        partition = topics.add("t")
        for _ in range(5):
            partition.append(batch(os.urandom(2500)))
        assert len(fetched(get(broker.client(), fetch(topics, {("t", 0): 0})))["t", 0][1]) == 2


@pytest.mark.parametrize("sizes", [(10, 100_000, 10), (40_000, 20_000, 5), (16_000,) * 12, (1_000_000, 3_000_000)])
def test_small_and_large_slices_arrive_unchanged_in_their_places(sizes: tuple[int, ...], tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        sent = {}
        for index, size in enumerate(sizes):
            sent[index] = os.urandom(size)
            topics.add("t", index, max_message_bytes=1 << 23).append(batch(sent[index]))
        client = broker.client()
        request = fetch(topics, {("t", n): 0 for n in sent}, max_bytes=1 << 23, partition_max_bytes=1 << 23)
        client.send(encode(request, 12) * 3)
        for _ in range(3):
            assert fetched(answer(client, request, 12, FetchResponse)) == {("t", n): (0, [data]) for n, data in sent.items()}


def test_a_partition_asked_for_twice_is_answered_once_with_its_last_wish(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t")
        partition.append(batch(b"a"))
        partition.append(batch(b"b"))
        parts = [FetchPartition(partition=0, fetch_offset=n, partition_max_bytes=1000) for n in (0, 1)]
        entries = [FetchTopic(topic="t", partitions=[part]) for part in parts]
        request = FetchRequest(max_wait_ms=0, min_bytes=0, max_bytes=1000, topics=entries)
        response = get(broker.client(), request)
        assert [part.partition_index for topic in response.responses for part in topic.partitions] == [0]
        assert fetched(response)["t", 0] == (0, [b"b"])


def test_only_what_is_below_the_high_watermark_is_read(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t", mark="external", in_sync=2)
        partition.append(batch(b"a"), acks=1)
        partition.append(batch(b"b"), acks=1)
        partition.high_watermark = 1
        assert fetched(get(broker.client(), fetch(topics, {("t", 0): 0})))["t", 0] == (0, [b"a"])


def test_a_topic_of_zstandard_needs_version_10(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t", compression=4, trust_compressed=True).append(batch(b"a" * 50, compression="zstd"))
        part = get(broker.client(), fetch(topics, {("t", 0): 0}, 9), 9).responses[0].partitions[0]
        assert (part.error_code, part.high_watermark) == (ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, -1)
        assert part.aborted_transactions == []
        assert fetched(get(broker.client(), fetch(topics, {("t", 0): 0}, 10), 10))["t", 0] == (0, [b"a" * 50])


def test_a_failed_disk_is_told_in_words_that_the_version_knows(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t").append(batch(b"a"))
        topics.flusher.fail(5)
        client = broker.client()
        for version, code in ((5, ErrorCode.NOT_LEADER_OR_FOLLOWER), (6, ErrorCode.KAFKA_STORAGE_ERROR)):
            assert fetched(get(client, fetch(topics, {("t", 0): 0}, version), version))["t", 0] == (code, [])


def in_memory_only(folder: Path) -> bool:
    """Whether the folder is on a file system that has no disk to be slow."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    # A process whose root was changed may be told of no mount at all.
    found = [(len(at), kind) for at, kind in mounts if str(folder).startswith(at)]
    return max(found, default=(0, ""))[1] in ("tmpfs", "ramfs")


def test_cold_data_is_read_by_a_helper_and_arrives_unchanged(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("disk")
    with serving(folder, threads=1) as (topics, broker):
        data = [os.urandom(3_000_000) for _ in range(4)]
        partition = topics.add("t", max_message_bytes=1 << 23)
        for value in data:
            partition.append(batch(value))
        (file,) = (folder / "t-0").glob("*.log")
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        request = fetch(topics, {("t", 0): 0}, max_bytes=1 << 24, partition_max_bytes=1 << 24)
        assert fetched(get(broker.client(), request))["t", 0] == (0, data)
        if not in_memory_only(folder):
            assert broker.reactor.counters()["cold_reads"] > 0


def test_a_place_that_only_the_disk_knows_is_looked_up_by_a_helper(tmp_path: Path) -> None:
    """Also for who does not want to wait: what is there is answered, whatever it takes to find it."""
    values = [os.urandom(5000) for _ in range(200)]
    with serving(tmp_path) as (topics, _):
        log = topics.add("t", segment_bytes=100_000)
        for value in values:
            log.append(batch(value))
    with serving(tmp_path, threads=1) as (topics, broker):
        # No index is mapped and no file open yet.
        topics.add("t", segment_bytes=100_000)
        for file in (tmp_path / "t-0").iterdir():
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        client = broker.client()
        for offset in (77, 0, 150):
            before = broker.reactor.counters()["cold_reads"]
            request = fetch(topics, {("t", 0): offset}, max_wait_ms=0, partition_max_bytes=1)
            assert fetched(get(client, request))["t", 0] == (0, [values[offset]])
            assert broker.reactor.counters()["cold_reads"] > before


# --- long polls ---


def test_a_poll_waits_for_data_and_no_longer(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t")
        client = broker.client()
        request = fetch(topics, {("t", 0): 0}, max_wait_ms=60_000)
        client.send(encode(request, 12))
        assert client.quiet(0.05)
        began = time.monotonic()
        partition.append(batch(b"a"))
        assert fetched(answer(client, request, 12, FetchResponse))["t", 0] == (0, [b"a"])
        assert time.monotonic() - began < 30


def test_a_poll_that_nothing_comes_for_ends_in_time(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        began = time.monotonic()
        response = get(broker.client(), fetch(topics, {("t", 0): 0}, max_wait_ms=150))
        assert time.monotonic() - began > 0.14
        assert fetched(response)["t", 0] == (0, [])


def test_a_poll_waits_until_there_are_enough_bytes_over_all_partitions(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        one, two = topics.add("t", 0), topics.add("t", 1)
        client = broker.client()
        request = fetch(topics, {("t", 0): 0, ("t", 1): 0}, max_wait_ms=60_000, min_bytes=400)
        client.send(encode(request, 12))
        one.append(batch(bytes(100)))
        two.append(batch(bytes(100)))
        assert client.quiet(0.1)
        one.append(batch(bytes(100)))
        got = fetched(answer(client, request, 12, FetchResponse))
        assert sum(len(values) for _, values in got.values()) == 3


def test_a_poll_for_known_and_unknown_partitions_waits_for_the_known(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t")
        client = broker.client()
        request = fetch(topics, {("nope", 0): 0, ("t", 0): 0}, max_wait_ms=60_000)
        client.send(encode(request, 12))
        assert client.quiet(0.05)
        partition.append(batch(b"a"))
        assert fetched(answer(client, request, 12, FetchResponse)) == {("t", 0): (0, [b"a"]), ("nope", 0): (3, [])}
        began = time.monotonic()
        get(client, fetch(topics, {("nope", 0): 0}, max_wait_ms=60_000))
        assert time.monotonic() - began < 30


def test_lost_leadership_and_deletion_end_a_poll(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        one, _ = topics.add("t", 0), topics.add("t", 1)
        for count, change in enumerate((lambda: one.become_follower(2), lambda: topics.registry.remove("t", 1)), 1):
            client = broker.client()
            request = fetch(topics, {("t", 0 if topics.registry.get("t", 0).is_leader else 1): 0}, max_wait_ms=60_000)
            client.send(encode(request, 12))
            assert broker.has_read(request.api_key, count)
            assert client.quiet(0.05)
            change()
            (outcome,) = fetched(answer(client, request, 12, FetchResponse)).values()
            assert outcome[0] == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_partitions_that_are_deleted_together_are_told_of_together(tmp_path: Path) -> None:
    def slowly(keys: list[Key]) -> Iterator[Key]:
        for key in keys:
            time.sleep(0.02)
            yield key

    with serving(tmp_path) as (topics, broker):
        gone = [("t", index) for index in range(4)]
        for topic, index in gone:
            topics.add(topic, index)
        client, request = broker.client(), fetch(topics, dict.fromkeys(gone, 0), max_wait_ms=60_000)
        client.send(encode(request, 12))
        assert broker.has_read(request.api_key)
        assert client.quiet(0.05)
        topics.registry.remove_all(slowly([("absent", 0), *gone]))
        codes = {key: code for key, (code, _) in fetched(answer(client, request, 12, FetchResponse)).items()}
        assert codes == dict.fromkeys(gone, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        assert len(topics.registry) == 0


def test_a_poller_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t")
        for _ in range(20):
            client = broker.client()
            client.send(encode(fetch(topics, {("t", 0): 0}, max_wait_ms=60_000), 12))
            client.reset()
        assert broker.until(lambda: broker.reactor.counters()["connections"] == 0)
        partition.append(batch(b"a"))
        assert fetched(get(broker.client(), fetch(topics, {("t", 0): 0})))["t", 0] == (0, [b"a"])


def test_stopping_ends_polls_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        client = broker.client()
        request = fetch(topics, {("t", 0): 0}, max_wait_ms=60_000)
        client.send(encode(request, 12))
        assert broker.has_read(request.api_key)
        assert client.quiet(0.05)
        began = time.monotonic()
        broker.reactor.stop(60)
        assert time.monotonic() - began < 30
        assert fetched(answer(client, request, 12, FetchResponse))["t", 0] == (0, [])


def test_tail_readers_see_every_record_once_and_in_order(tmp_path: Path) -> None:
    with serving(tmp_path, threads=3) as (topics, broker):
        partition = topics.add("t", flushed=True)
        seen: list[list[bytes]] = []

        def follow() -> None:
            client, got, offset = broker.client(), [], 0
            while offset < 300:
                response = get(client, fetch(topics, {("t", 0): offset}, max_wait_ms=1000))
                values = fetched(response)["t", 0][1]
                got += values
                offset += len(values)
            seen.append(got)

        readers = [threading.Thread(target=follow) for _ in range(4)]
        for reader in readers:
            reader.start()
        for n in range(300):
            partition.append(batch(b"%d" % n))
        for reader in readers:
            reader.join()
        assert seen == [[b"%d" % n for n in range(300)]] * 4


# --- sessions (KIP-227) ---


def test_a_session_answers_only_what_has_news(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        parts = [topics.add("t", n) for n in range(3)]
        client = broker.client()
        first = get(client, fetch(topics, {("t", n): 0 for n in range(3)}, session_epoch=0))
        assert first.session_id > 0
        assert len(fetched(first)) == 3
        session = {"session_id": first.session_id}
        assert fetched(get(client, fetch(topics, {}, **session, session_epoch=1))) == {}
        parts[1].append(batch(b"a"))
        assert fetched(get(client, fetch(topics, {}, **session, session_epoch=2))) == {("t", 1): (0, [b"a"])}
        assert fetched(get(client, fetch(topics, {("t", 1): 1}, **session, session_epoch=3))) == {}
        assert broker.reactor.counters()["fetch_sessions"] == 1


@pytest.mark.parametrize("version", [12, 13, 18])
def test_a_consumer_hears_from_where_on_its_records_are_not_the_log_s(version: int, tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t")
        partition.append(batch(b"a"))
        partition.become_leader(3)
        partition.append(batch(b"b"))
        client, session = broker.client(), (0, 0)
        # offset, epoch of the record before it; error, what is read, where the logs part
        for offset, epoch, *expected in (
            (1, 1, 0, [b"b"], (-1, -1)),
            (1, -1, 0, [b"b"], (-1, -1)),
            (2, 1, 0, [], (1, 1)),
            (1, 2, 0, [], (1, 1)),
            (9, 3, 0, [], (3, 2)),
            (0, 3, 0, [b"a", b"b"], (-1, -1)),
            (1, 0, 0, [], (0, 0)),
            (1, 9, ErrorCode.OFFSET_OUT_OF_RANGE, [], (-1, -1)),
        ):
            kept = {"session_id": session[0], "session_epoch": session[1], "isolation_level": 1}
            request = fetch(topics, {("t", 0): offset}, version, leader_epoch=3, max_wait_ms=60_000, **kept)
            request.topics[0].partitions[0].last_fetched_epoch = epoch
            response = get(client, request, version)
            session = response.session_id, session[1] + 1
            ((code, values),) = fetched(response).values()
            part = response.responses[0].partitions[0]
            assert [code, values, (part.diverging_epoch.epoch, part.diverging_epoch.end_offset)] == expected
            if part.diverging_epoch.epoch >= 0:
                assert (part.high_watermark, part.last_stable_offset, part.log_start_offset) == (2, 2, 0)
                assert part.aborted_transactions is None
        assert broker.reactor.counters()["handed_over"] == 0


def test_a_session_adds_changes_and_forgets_partitions(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        for n in range(3):
            topics.add("t", n).append(batch(b"%d" % n))
        client = broker.client()
        session = {"session_id": get(client, fetch(topics, {("t", 0): 1, ("t", 1): 1}, session_epoch=0)).session_id}
        added = get(client, fetch(topics, {("t", 2): 0, ("t", 0): 0}, **session, session_epoch=1))
        assert fetched(added) == {("t", 0): (0, [b"0"]), ("t", 2): (0, [b"2"])}
        forgetting = fetch(topics, {}, **session, session_epoch=2)
        forgetting.forgotten_topics_data = [ForgottenTopic(topic="t", partitions=[0, 1])]
        assert list(fetched(get(client, forgetting))) == [("t", 2)]
        forgetting = fetch(topics, {}, **session, session_epoch=3)
        forgetting.forgotten_topics_data = [ForgottenTopic(topic="t", partitions=[2])]
        emptied = get(client, forgetting)
        assert (emptied.session_id, fetched(emptied)) == (0, {})
        assert broker.reactor.counters()["fetch_sessions"] == 0


def test_what_empties_a_session_is_answered_as_if_it_were_none(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        for n in range(2):
            topics.add("t", n).append(batch(b"%d" % n))
        client = broker.client()
        session = {"session_id": get(client, fetch(topics, {("t", 0): 1}, session_epoch=0)).session_id}
        asking = fetch(topics, {("t", 0): 0, ("t", 1): 1}, **session, session_epoch=1)
        asking.forgotten_topics_data = [ForgottenTopic(topic="t", partitions=[0, 1])]
        emptied = get(client, asking)
        assert (emptied.session_id, fetched(emptied)) == (0, {("t", 0): (0, [b"0"]), ("t", 1): (0, [])})
        assert broker.reactor.counters()["fetch_sessions"] == 0


def test_errors_are_told_again_each_time_and_so_is_their_end(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t").append(batch(b"a"))
        client = broker.client()
        session = {"session_id": get(client, fetch(topics, {("t", 0): 99, ("u", 0): 0}, session_epoch=0)).session_id}
        again = fetched(get(client, fetch(topics, {}, **session, session_epoch=1)))
        assert again == {("t", 0): (ErrorCode.OFFSET_OUT_OF_RANGE, []), ("u", 0): (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, [])}
        topics.add("u")
        mended = fetched(get(client, fetch(topics, {("t", 0): 1}, **session, session_epoch=2)))
        assert mended == {("t", 0): (0, []), ("u", 0): (0, [])}


def test_a_wrong_session_or_epoch_is_told(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        client = broker.client()
        lost = get(client, fetch(topics, {("t", 0): 0}, session_id=12345, session_epoch=1))
        assert (lost.error_code, lost.session_id, lost.responses) == (ErrorCode.FETCH_SESSION_ID_NOT_FOUND, 0, [])
        session = {"session_id": get(client, fetch(topics, {("t", 0): 0}, session_epoch=0)).session_id}
        wrong = get(client, fetch(topics, {}, **session, session_epoch=5))
        assert (wrong.error_code, wrong.session_id) == (ErrorCode.INVALID_FETCH_SESSION_EPOCH, 0)
        mixed = get(client, fetch(topics, {("t", 0): 0}, 13, **session, session_epoch=1), 13)
        assert (mixed.error_code, mixed.session_id) == (ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR, 0)
        assert get(client, fetch(topics, {}, **session, session_epoch=1)).error_code == 0


def test_a_final_or_new_full_fetch_ends_the_session(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        client = broker.client()
        one = get(client, fetch(topics, {("t", 0): 0}, session_epoch=0)).session_id
        two = get(client, fetch(topics, {("t", 0): 0}, session_id=one, session_epoch=0)).session_id
        assert two not in (0, one)
        assert broker.reactor.counters()["fetch_sessions"] == 1
        final = get(client, fetch(topics, {("t", 0): 0}, session_id=two, session_epoch=-1))
        assert final.session_id == 0
        assert broker.reactor.counters()["fetch_sessions"] == 0


def test_without_room_there_is_no_session_and_the_data_comes_all_the_same(tmp_path: Path) -> None:
    with serving(tmp_path, max_incremental_fetch_session_cache_slots=2) as (topics, broker):
        topics.add("t").append(batch(b"a"))
        client = broker.client()
        answers = [get(client, fetch(topics, {("t", 0): 0}, session_epoch=0)) for _ in range(3)]
        assert [one.session_id != 0 for one in answers] == [True, True, False]
        assert fetched(answers[2])["t", 0] == (0, [b"a"])


def test_under_a_tight_limit_every_partition_of_a_session_has_its_turn(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        for n in range(3):
            topics.add("t", n).append(batch(os.urandom(1000)))
        client = broker.client()
        keys = {("t", n): 0 for n in range(3)}
        session = {"session_id": get(client, fetch(topics, keys, session_epoch=0, max_bytes=1, partition_max_bytes=1)).session_id}
        served = []
        for epoch in range(1, 7):
            got = fetched(get(client, fetch(topics, {}, **session, session_epoch=epoch, max_bytes=1, partition_max_bytes=1)))
            served += [index for (_, index), (_, values) in got.items() if values]
        assert sorted(served[:3]) == [0, 1, 2]
        assert served[:3] == served[3:]


def test_a_session_by_id_survives_version_18(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t")
        client = broker.client()
        session = {"session_id": get(client, fetch(topics, {("t", 0): 0}, 18, session_epoch=0), 18).session_id}
        request = fetch(topics, {}, 18, **session, session_epoch=1, max_wait_ms=60_000)
        client.send(encode(request, 18))
        assert client.quiet(0.05)
        partition.append(batch(b"a"))
        assert fetched(answer(client, request, 18, FetchResponse)) == {(topics.ids["t"], 0): (0, [b"a"])}


# --- transactions ---


def test_read_committed_stops_at_the_last_stable_offset_and_names_what_was_aborted(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t")
        partition.append(batch(b"plain"))
        partition.append(batch(b"doomed", producer_id=7, producer_epoch=0, base_sequence=0, transactional=True))
        client = broker.client()
        committed = fetch(topics, {("t", 0): 0}, isolation_level=1)
        part = get(client, committed).responses[0].partitions[0]
        assert (part.last_stable_offset, part.high_watermark) == (1, 2)
        assert part.aborted_transactions == []
        assert fetched(get(client, fetch(topics, {("t", 0): 0})))["t", 0] == (0, [b"plain", b"doomed"])
        waiting = fetch(topics, {("t", 0): 1}, isolation_level=1, max_wait_ms=60_000)
        client.send(encode(waiting, 12))
        assert client.quiet(0.05)
        partition.append(abort_marker(7), origin="coordinator")
        part = answer(client, waiting, 12, FetchResponse).responses[0].partitions[0]
        assert part.last_stable_offset == 3
        assert part.aborted_transactions == [AbortedTransaction(producer_id=7, first_offset=1)]


def abort_marker(producer_id: int) -> bytes:
    marker = Record(key=struct.pack(">hh", 0, 0), value=struct.pack(">hi", 0, 0), timestamp=1_700_000_000_000)
    return build_batch([marker], producer_id=producer_id, producer_epoch=0, base_sequence=-1, transactional=True, control=True)


# --- what the core leaves to the control plane ---


def test_replicas_and_odd_requests_are_handed_over(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        client = broker.client()
        old = fetch(topics, {("t", 0): 0}, 14)
        old.replica_id = 2
        new = fetch(topics, {("t", 0): 0}, 17)
        new.replica_state = ReplicaState(replica_id=2, replica_epoch=5)
        client.send(encode(old, 14) + encode(new, 17))
        client.send(frame(request_header(1, 12, 1, None) + b"\0" * 3))
        assert [item.frame[2:4] for item in broker.handed(3)] == [struct.pack(">h", version) for version in (14, 17, 12)]


def test_the_rack_is_read_over(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t").append(batch(b"a"))
        request = fetch(topics, {("t", 0): 0}, 17, rack_id="r1")
        assert fetched(get(broker.client(), request, 17)) == {(topics.ids["t"], 0): (0, [b"a"])}


def test_what_only_replicas_send_and_what_is_not_text_is_the_control_plane_s(tmp_path: Path) -> None:
    with serving(tmp_path) as (topics, broker):
        topics.add("t")
        client = broker.client()
        client.send(encode(fetch(topics, {("t", 0): 0}, 17, cluster_id="c"), 17))
        client.send(encode(fetch(topics, {("t", 0): 0}, 17, rack_id="é"), 17))
        client.send(encode(fetch(topics, {("é", 0): 0}, 12), 12))
        assert len(broker.handed(3)) == 3


@pytest.mark.parametrize("seed", range(20))
def test_hostile_bytes_harm_only_their_connection(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    with serving(tmp_path, threads=1) as (topics, broker):
        topics.add("t").append(batch(b"a"))
        for _ in range(40):
            version = chance.choice(VERSIONS)
            request = fetch(topics, {("t", 0): 0, ("t", 1): 0}, version)
            body = bytearray(encode(request, version)[4:])
            for _ in range(chance.randint(1, 6)):
                body[chance.randrange(8, len(body))] = chance.choice([0, 1, 2, 127, 128, 255])
            body = body[: chance.randint(8, len(body))] if chance.random() < 0.3 else body
            client = broker.client()
            client.send(struct.pack(">i", len(body)) + bytes(body))
            broker.poll(0.001)
            client.close()
        assert fetched(get(broker.client(), fetch(topics, {("t", 0): 0})))["t", 0] == (0, [b"a"])
