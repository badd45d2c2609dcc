"""A fetcher makes a follower's log the leader's, byte for byte, through divergence, lost ranges and errors."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

pytest.importorskip("kafkax._core.partition")

from kafkax._core.log import Log, LogSettings
from kafkax._core.partition import Partition
from kafkax.config import BrokerConfig, TopicConfig
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.protocol.messages.fetch import EpochEndOffset, FetchableTopicResponse, FetchRequest, FetchResponse, PartitionData
from kafkax.protocol.messages.list_offsets import (
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)
from kafkax.protocol.record import Record
from kafkax.protocol.records import build_batch
from kafkax.replication.fetcher import Fetcher, FetcherSettings, Followed
from kafkax.replication.following import Following, divergence
from kafkax.replication.throttles import Throttles

TOPIC_ID = uuid4()
T0 = TopicPartition("t", 0)
SETTINGS = FetcherSettings(replica_id=2, backoff_ms=20)


def throttles(rate=None, replicas=""):
    config = BrokerConfig.load(overrides={} if rate is None else {"follower.replication.throttled.rate": str(rate)})
    topic = TopicConfig({"follower.replication.throttled.replicas": replicas}, config)
    return Throttles(2, config, lambda _: topic)


class Leader:
    """Answers like a leader, from a real log."""

    def __init__(self, log):
        self.log = log
        self.fetches = []
        self.error = ErrorCode.NONE
        self.fail = 0

    async def send(self, request, version, response):
        await asyncio.sleep(0.002)
        if self.fail:
            self.fail -= 1
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION)
        if isinstance(request, FetchRequest):
            return self.fetched(request)
        which = request.topics[0].partitions[0].timestamp
        offset = self.log.log_start_offset if which == -2 else self.log.log_end_offset
        partition = ListOffsetsPartitionResponse(partition_index=0, offset=offset)
        return ListOffsetsResponse(topics=[ListOffsetsTopicResponse(name="t", partitions=[partition])])

    def fetched(self, request):
        asked = request.topics[0].partitions[0]
        self.fetches.append((asked.fetch_offset, asked.last_fetched_epoch, request.replica_state.replica_epoch))
        data = PartitionData(
            partition_index=0, high_watermark=self.log.log_end_offset, log_start_offset=self.log.log_start_offset
        )
        try:
            if self.error is not ErrorCode.NONE:
                raise KafkaError(self.error)
            parted = divergence(self.log, asked.fetch_offset, asked.last_fetched_epoch)
            if parted is not None:
                data.diverging_epoch = EpochEndOffset(epoch=parted[0], end_offset=parted[1])
            else:
                found = self.log.read(asked.fetch_offset, 1 << 20)
                data.records = b"" if found is None else found.read()
        except KafkaError as error:
            data.error_code = error.code
        return FetchResponse(responses=[FetchableTopicResponse(topic_id=TOPIC_ID, partitions=[data])])

    def renew(self):
        return None

    async def close(self):
        return None


def write(log, epoch, *values):
    for value in values:
        log.append(build_batch([Record(value=value)]), leader_epoch=epoch)


def content(log):
    found = log.read(log.log_start_offset, 1 << 20)
    return b"" if found is None else found.read()


@pytest.fixture
def logs(tmp_path):
    """A leader's and a follower's log, which nothing flushes but the fetcher: neither has a flusher."""
    opened = []
    for name in ("leader", "follower"):
        folder = tmp_path / name / "t-0"
        folder.mkdir(parents=True)
        opened.append(Log.open(str(folder), LogSettings()))
    yield opened
    for log in opened:
        log.close()


@pytest.fixture
async def rig(logs):
    leader = Leader(logs[0])
    fetcher = Fetcher(leader, SETTINGS, lambda: 77, throttles())
    partition = Partition("t", 0, TOPIC_ID, logs[1])
    yield leader, fetcher, partition
    await fetcher.close()


def follow(fetcher, partition, epoch=5, *, flush=True):
    partition.become_follower(epoch)
    followed = Followed(partition, Following(1, epoch), flush=flush)
    fetcher.add(followed)
    return followed


async def same(leader, partition):
    """Wait until the follower has what the leader has."""
    for _ in range(1000):
        if content(leader.log) == content(partition.log) and partition.high_watermark == leader.log.log_end_offset:
            return
        await asyncio.sleep(0.005)
    pytest.fail(f"the follower ends at {partition.log.log_end_offset}, the leader at {leader.log.log_end_offset}")


async def test_an_empty_follower_gets_every_byte_and_goes_on(rig):
    leader, fetcher, partition = rig
    write(leader.log, 1, b"a", b"b")
    write(leader.log, 5, b"c")
    follow(fetcher, partition)
    await same(leader, partition)
    write(leader.log, 5, b"d")
    await same(leader, partition)
    assert partition.log.epochs() == leader.log.epochs()
    assert leader.fetches[0] == (0, -1, 77)


async def test_the_next_fetch_says_only_what_is_on_the_disk(rig):
    leader, fetcher, partition = rig
    write(leader.log, 5, b"a", b"b")
    follow(fetcher, partition)
    await same(leader, partition)
    assert partition.log.flushed_offset == 2


async def test_a_log_that_took_another_way_is_cut_by_epochs(rig):
    leader, fetcher, partition = rig
    for log in (leader.log, partition.log):
        write(log, 1, b"common", b"also")
    write(partition.log, 2, b"lost", b"lost too")
    write(leader.log, 3, b"kept")
    follow(fetcher, partition)
    await same(leader, partition)


async def test_a_log_beyond_what_the_leader_lost_is_cut(rig):
    leader, fetcher, partition = rig
    for log in (leader.log, partition.log):
        write(log, 1, b"common")
    write(partition.log, 1, b"never at the leader")
    leader.log.assign_epoch(5, 1)
    write(leader.log, 5, b"new")
    follow(fetcher, partition)
    await same(leader, partition)


async def test_a_log_that_ends_before_the_leaders_begins_starts_anew(rig):
    leader, fetcher, partition = rig
    leader.log.truncate_fully(100)
    write(leader.log, 5, b"a")
    follow(fetcher, partition)
    await same(leader, partition)
    assert partition.log.log_start_offset == 100


async def test_broken_connections_and_passing_errors_are_tried_again(rig):
    leader, fetcher, partition = rig
    write(leader.log, 5, b"a")
    leader.fail, leader.error = 2, ErrorCode.NOT_LEADER_OR_FOLLOWER
    follow(fetcher, partition)
    await asyncio.sleep(0.1)
    assert partition.log.log_end_offset == 0
    leader.error = ErrorCode.NONE
    await same(leader, partition)


async def test_a_fenced_follower_waits_for_the_controller(rig):
    leader, fetcher, partition = rig
    leader.error = ErrorCode.FENCED_LEADER_EPOCH
    follow(fetcher, partition)
    await asyncio.sleep(0.1)
    assert len(leader.fetches) == 1


async def test_a_fenced_follower_goes_on_in_the_next_epoch_while_a_fetch_of_others_waits(logs):
    """The leader hears of its new epoch first: it fences this follower and then has nothing new in other partitions."""
    asked = []

    class Fencing(Leader):
        async def send(self, request, version, response):
            partitions = {each.partition: each.current_leader_epoch for each in request.topics[0].partitions}
            asked.append(partitions)
            if 0 not in partitions:
                await asyncio.sleep(60)
            await asyncio.sleep(0.002)
            code = ErrorCode.NONE if partitions[0] == 6 else ErrorCode.FENCED_LEADER_EPOCH
            data = [PartitionData(partition_index=0, error_code=code)]
            return FetchResponse(responses=[FetchableTopicResponse(topic_id=TOPIC_ID, partitions=data)])

    fetcher = Fetcher(Fencing(logs[0]), SETTINGS, lambda: 77, throttles())
    first, second = (Partition("t", index, TOPIC_ID, logs[1]) for index in range(2))
    follow(fetcher, first)
    follow(fetcher, second)

    async def until(wanted):
        for _ in range(1000):
            if asked and asked[-1] == wanted:
                return
            await asyncio.sleep(0.005)
        pytest.fail(f"{wanted} was not asked for: {asked[-3:]}")

    await until({1: 5})
    fetcher.renew(Followed(first, Following(1, 6), flush=False))
    await until({0: 6, 1: 5})
    await fetcher.close()


async def test_nothing_is_appended_once_the_fetcher_let_go(rig):
    leader, fetcher, partition = rig
    follow(fetcher, partition)
    await asyncio.sleep(0.02)
    fetcher.remove([T0])
    assert len(fetcher) == 0
    write(leader.log, 5, b"late")
    await asyncio.sleep(0.05)
    assert partition.log.log_end_offset == 0


async def test_a_partition_that_comes_does_not_wait_for_the_fetch_of_others_to_end(logs):
    broken_off = 0
    waits = asyncio.Event()

    class Patient(Leader):
        async def send(self, request, version, response):
            if len(request.topics[0].partitions) == 1 and self.fetches:
                # nothing new for the one that is asked for
                waits.set()
                await asyncio.sleep(60)
            return await super().send(request, version, response)

        def fetched(self, request):
            answer = super().fetched(request)
            answer.responses[0].partitions[0].partition_index = request.topics[0].partitions[0].partition
            return answer

        def renew(self):
            nonlocal broken_off
            broken_off += 1

    leader = Patient(logs[0])
    fetcher = Fetcher(leader, SETTINGS, lambda: 77, throttles())
    first = Partition("t", 0, TOPIC_ID, logs[1])
    follow(fetcher, first)
    await asyncio.wait_for(waits.wait(), 30)
    before = len(leader.fetches)
    second = Partition("t", 1, TOPIC_ID, logs[1])
    follow(fetcher, second)
    for _ in range(1000):
        if len(leader.fetches) > before:
            break
        await asyncio.sleep(0.005)
    assert len(leader.fetches) > before
    assert broken_off == 1
    await fetcher.close()


async def fetched_while(leader, seconds):
    before = len(leader.fetches)
    await asyncio.sleep(seconds)
    return leader.fetches[before:]


@pytest.fixture
async def throttled(logs):
    """A fetcher that may fetch 100 bytes a second of what is throttled: its replica of partition 0."""
    leader = Leader(logs[0])
    limits = throttles(100, "0:2,1:3")
    fetcher = Fetcher(leader, SETTINGS, lambda: 77, limits)
    yield leader, fetcher, Partition("t", 0, TOPIC_ID, logs[1]), limits
    await fetcher.close()


async def test_a_throttled_partition_that_lags_is_left_out_while_the_rate_is_used_up(throttled):
    leader, fetcher, partition, limits = throttled
    limits.follower.record(100_000, int(asyncio.get_running_loop().time() * 1000))
    write(leader.log, 5, b"a")
    follow(fetcher, partition)
    assert await fetched_while(leader, 0.2) == []
    limits.follower.limit = 1_000_000
    await same(leader, partition)


async def test_what_a_throttled_partition_brings_is_held_against_the_rate(throttled):
    leader, fetcher, partition, limits = throttled
    write(leader.log, 5, b"x" * 5000)
    follow(fetcher, partition)
    await same(leader, partition)
    assert limits.follower.wait_ms(int(asyncio.get_running_loop().time() * 1000)) > 10_000


async def test_in_sync_and_named_by_nobody_replicas_are_fetched_whatever_was_used(throttled):
    leader, fetcher, partition, limits = throttled
    write(leader.log, 5, b"x" * 5000)
    follow(fetcher, partition)
    await same(leader, partition)
    assert limits.follower.wait_ms(int(asyncio.get_running_loop().time() * 1000)) > 0
    write(leader.log, 5, b"y")
    await same(leader, partition)
    fetcher.renew(Followed(partition, Following(1, 5), flush=False))
    write(leader.log, 5, b"z")
    await same(leader, partition)


class Far(Leader):
    """Gives one batch a fetch, and says that ``committed`` is committed."""

    def __init__(self, log, committed):
        super().__init__(log)
        self.committed = committed
        self.seen = []
        self.partition = None
        self.broken = None

    async def send(self, request, version, response):
        offset = request.topics[0].partitions[0].fetch_offset
        self.seen.append((offset, self.partition.log.log_end_offset, self.partition.log.flushed_offset))
        if self.broken == offset:
            self.broken = None
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION)
        return await super().send(request, version, response)

    def fetched(self, request):
        answer = super().fetched(request)
        data = answer.responses[0].partitions[0]
        data.high_watermark = self.committed
        data.records = data.records and bytes(data.records)[: len(build_batch([Record(value=b"%06d" % 0)]))]
        return answer


@pytest.fixture
async def far(logs, monkeypatch):
    """A leader with 20 records, of which 12 are committed, and a follower whose worker threads write only slowly."""
    leader = Far(logs[0], 12)
    write(leader.log, 5, *(b"%06d" % number for number in range(20)))
    to_thread = asyncio.to_thread

    async def slowly(function, *arguments):
        await asyncio.sleep(0.02)
        return await to_thread(function, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", slowly)
    fetcher = Fetcher(leader, SETTINGS, lambda: 77, throttles())
    leader.partition = Partition("t", 0, TOPIC_ID, logs[1])
    yield leader, fetcher, leader.partition
    await fetcher.close()


async def all_there(partition):
    for _ in range(1000):
        if partition.log.log_end_offset == 20:
            return
        await asyncio.sleep(0.005)
    pytest.fail(f"the follower ends at {partition.log.log_end_offset}")


async def test_one_far_behind_asks_for_the_next_piece_while_it_writes_and_is_exact_where_it_counts(far):
    leader, fetcher, partition = far
    follow(fetcher, partition)
    await all_there(partition)
    early = [offset for offset, end, _ in leader.seen if offset > end]
    assert early == list(range(1, 12)), "each below what is committed, and nothing else"
    assert all(end == flushed == offset for offset, end, flushed in leader.seen if offset >= 12)
    assert content(partition.log) == content(leader.log)
    assert leader.fetches[5] == (5, 5, 77), "the epoch of the last record goes with it"


async def test_what_was_asked_ahead_of_a_write_that_failed_is_not_appended(far):
    leader, fetcher, partition = far
    partition.become_follower(5)
    followed = Followed(partition, Following(1, 5), flush=True)
    apply, failed = fetcher._apply, []

    def fail_once(followed, data, now, *, flush):
        if partition.log.log_end_offset == 3 and not failed:
            failed.append(len(leader.seen))
            return False
        return apply(followed, data, now, flush=flush)

    fetcher._apply = fail_once
    fetcher.add(followed)
    await all_there(partition)
    assert failed
    assert content(partition.log) == content(leader.log)
    assert [offset for offset, _, _ in leader.seen].count(3) == 2, "it was asked for again"


async def test_what_was_not_flushed_while_it_asked_ahead_is_flushed_before_it_asks_as_usual(far):
    leader, fetcher, partition = far
    leader.broken = 7
    follow(fetcher, partition)
    await all_there(partition)
    again = [(end, flushed) for offset, end, flushed in leader.seen if offset == 7]
    assert again == [(6, 0), (7, 7)]
