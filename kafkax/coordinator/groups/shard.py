"""One partition of ``__consumer_offsets``: the groups and offsets that hash to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeAlias

from kafkax._core.commit_request import CommitRequest
from kafkax._core.standing import StandingAnswers
from kafkax.clock import Clock
from kafkax.coordinator.batches import Entry
from kafkax.coordinator.groups.classic import CONSUMER_PROTOCOL_TYPE, ClassicGroup, ClassicState
from kafkax.coordinator.groups.classic_bridge import ClassicBridge
from kafkax.coordinator.groups.classic_protocol import ClassicProtocol
from kafkax.coordinator.groups.commits import check_classic_commit, check_consumer_commit, check_consumer_fetch, may_commit
from kafkax.coordinator.groups.consumer_group import ConsumerGroup, ConsumerState
from kafkax.coordinator.groups.consumer_protocol import ConsumerProtocol, Writer
from kafkax.coordinator.groups.consumer_records import group_tombstones, replay_record
from kafkax.coordinator.groups.describe import DescribedConsumerGroup, describe_classic, describe_consumer
from kafkax.coordinator.groups.migration import can_downgrade, can_upgrade, downgraded, write_upgraded
from kafkax.coordinator.groups.records import (
    GroupRecord,
    classic_group_from,
    classic_group_record,
    classic_group_tombstone,
    decode_record,
    encode_record,
)
from kafkax.coordinator.groups.settings import Caller, GroupSettings
from kafkax.coordinator.groups.topics import TopicView
from kafkax.coordinator.offset_records import CommittedOffset, OffsetRecord
from kafkax.coordinator.offsets import OffsetStore
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import Producer, Result
from kafkax.coordinator.timers import KeyedTimers
from kafkax.coordinator.undo import UndoDict, UndoLog
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.coordinator_records.classic_group import GroupMetadataKey, GroupMetadataValue
from kafkax.protocol.coordinator_records.consumer_group import ConsumerGroupMetadataKey, ConsumerGroupPartitionMetadataKey
from kafkax.protocol.messages.consumer_group_heartbeat import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from kafkax.protocol.messages.describe_groups import DescribedGroup
from kafkax.protocol.messages.heartbeat import HeartbeatRequest
from kafkax.protocol.messages.join_group import JoinGroupRequest, JoinGroupResponse
from kafkax.protocol.messages.leave_group import LeaveGroupRequest, LeaveGroupResponse
from kafkax.protocol.messages.list_groups import ListedGroup
from kafkax.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitResponse
from kafkax.protocol.messages.offset_delete import OffsetDeleteRequest, OffsetDeleteResponse
from kafkax.protocol.messages.offset_fetch import OffsetFetchRequestGroup, OffsetFetchResponseGroup
from kafkax.protocol.messages.sync_group import SyncGroupRequest, SyncGroupResponse

__all__ = ["GroupShard"]

log = logging.getLogger(__name__)

_GROUP_ID_NOT_FOUND_SINCE = 9
"""First version of OffsetCommit that tells a missing group from a stale generation."""
_DEAD_WITH_ERROR_SINCE = 6
"""First version of DescribeGroups that answers GROUP_ID_NOT_FOUND where older ones say Dead."""
_CLEANUP = ("cleanup",)
_EMPTY_STATES = (ClassicState.EMPTY, ConsumerState.EMPTY)
_TOUCHED_STATES = (ClassicState.STABLE, ClassicState.PREPARING_REBALANCE)
"""In which a commit counts as a heartbeat."""


Group: TypeAlias = "ClassicGroup | ConsumerGroup"


class GroupShard:
    """The groups and offsets of one partition.

    Args:
        timers: of the shard.
        undo: of the shard.
        clock: time.
        settings: limits and delays.
        topics: the cluster's topics as they are when called.
        new_id: makes member ids, or their unique part.
        standing: heartbeats that the network threads answer.
    """

    def __init__(
        self,
        timers: KeyedTimers,
        undo: UndoLog,
        clock: Clock,
        settings: GroupSettings,
        topics: Callable[[], TopicView],
        new_id: Callable[[], str],
        standing: StandingAnswers,
    ) -> None:
        self._timers = timers
        self._standing = standing
        self._undo = undo
        self._clock = clock
        self._settings = settings
        self._topics = topics
        self.groups: UndoDict[str, Group] = UndoDict(undo)
        self.offsets = OffsetStore(undo, settings.offset_metadata_max_bytes)
        self._classic = ClassicProtocol(timers, clock, settings, new_id, standing)
        self._consumer = ConsumerProtocol(
            timers, clock, settings, topics, self.replay, self._find_consumer, self._members_left, new_id, standing
        )
        self._bridge = ClassicBridge(self._consumer)

    # -- finding groups --------------------------------------------------------------------------------------------

    def _group(self, group_id: str) -> Group:
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group_id}")
        return group

    def _group_of_member(self, group_id: str) -> Group:
        """The group, for requests that only a member may send: one that does not exist has no members."""
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group_id} does not exist; join again")
        return group

    def _find_consumer(self, group_id: str) -> ConsumerGroup | None:
        group = self.groups.get(group_id)
        return group if isinstance(group, ConsumerGroup) else None

    def _new_classic_group(self, group_id: str) -> ClassicGroup:
        group = ClassicGroup(group_id, self._clock.wall_ms())
        # Until a record of it is written it is no more than its members' requests, which an append that fails leaves in place;
        # and what the log has is not undone.
        dict.__setitem__(self.groups, group_id, group)
        return group

    # -- the classic protocol --------------------------------------------------------------------------------------

    def join(self, caller: Caller, request: JoinGroupRequest, reply: Promise[JoinGroupResponse]) -> Result[None]:
        """JoinGroup; the answer comes through ``reply``."""
        group = self.groups.get(request.group_id)
        if isinstance(group, ConsumerGroup) and group.members:
            write = Writer(self.replay)
            result = self._bridge.join(group, caller, request, reply, self._topics(), write)
            if can_downgrade(group, self._settings):
                self._downgrade(group, write)
            return result
        if group is None and request.member_id:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {request.group_id} does not exist; join without an id")
        tombstones: list[Any] = []
        if isinstance(group, ConsumerGroup):
            # Nobody is in, so it may become whatever the first member wants.
            write = Writer(self.replay)
            write(*group_tombstones(group))
            tombstones, group = write.records, None
        result = self._classic.join(group or self._new_classic_group(request.group_id), caller, request, reply)
        records = [*tombstones, *result.records]
        return Result(records, result.response, False, result.on_commit, result.on_undo) if tombstones else result

    def sync(self, request: SyncGroupRequest, reply: Promise[SyncGroupResponse]) -> Result[Any]:
        """SyncGroup; the answer comes through ``reply``, or for members of a consumer group as the response."""
        group = self._group_of_member(request.group_id)
        if isinstance(group, ConsumerGroup):
            return self._bridge.sync(group, request, self._topics())
        return self._classic.sync(group, request, reply)

    def heartbeat(self, request: HeartbeatRequest) -> ErrorCode:
        """Heartbeat."""
        group = self._group_of_member(request.group_id)
        if isinstance(group, ConsumerGroup):
            return self._bridge.heartbeat(group, request)
        return self._classic.heartbeat(group, request)

    def leave(self, request: LeaveGroupRequest) -> Result[LeaveGroupResponse]:
        """LeaveGroup, with the members in a list as from version 3 on."""
        group = self._group_of_member(request.group_id)
        if isinstance(group, ConsumerGroup):
            return self._bridge.leave(group, request, Writer(self.replay))
        return self._classic.leave(group, request)

    # -- the consumer protocol -------------------------------------------------------------------------------------

    def consumer_heartbeat(
        self, caller: Caller, request: ConsumerGroupHeartbeatRequest
    ) -> Result[ConsumerGroupHeartbeatResponse]:
        """ConsumerGroupHeartbeat."""
        write = Writer(self.replay)
        if request.member_epoch < 0:
            found = self._find_consumer(request.group_id)
            if found is None:
                raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no consumer group {request.group_id}")
            return self._consumer.leave(found, request, write)
        return self._consumer.heartbeat(self._consumer_group(request, write), caller, request, write)

    def _consumer_group(self, request: ConsumerGroupHeartbeatRequest, write: Writer) -> ConsumerGroup:
        """The group of a heartbeat, made when its first member joins, or made of a classic group."""
        group = self.groups.get(request.group_id)
        if isinstance(group, ConsumerGroup):
            return group
        joins = request.member_epoch == 0
        if not joins or (group is not None and group.members and not can_upgrade(group, self._settings)):
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no consumer group {request.group_id}")
        if group is not None and group.members:
            # Read everything before anything changes: a member that cannot be read leaves the group as it is.
            return self._upgrade(group, write)
        if group is not None:
            write(classic_group_tombstone(request.group_id))
        made = self.groups[request.group_id] = ConsumerGroup(request.group_id, self._undo)
        return made

    def _upgrade(self, classic: ClassicGroup, write: Writer) -> ConsumerGroup:
        group_id = classic.group_id
        write(classic_group_tombstone(group_id))
        group = self.groups[group_id] = ConsumerGroup(group_id, self._undo)
        try:
            write_upgraded(classic, self._topics(), write, self._clock.wall_ms())
        except KafkaError:
            self._classic.watch(classic)
            raise
        self._classic.send_back(classic)
        self._consumer.watch(group)
        write.when_undone(lambda: self._rewatch(classic))
        return group

    def _rewatch(self, group: Group) -> None:
        """Watch a group that the undo log has put back in place of what it was to become."""
        self._unwatch(group)
        self._watch(group)

    def _watch(self, group: Group) -> None:
        if isinstance(group, ConsumerGroup):
            self._consumer.watch(group)
        else:
            self._classic.watch(group)

    def _unwatch(self, group: Group) -> None:
        if isinstance(group, ConsumerGroup):
            self._consumer.forget(group)
        else:
            self._classic.forget(group)

    def _members_left(self, group: ConsumerGroup, write: Writer) -> None:
        if can_downgrade(group, self._settings):
            self._downgrade(group, write)
        else:
            self._consumer.after_removal(group, write)

    def _downgrade(self, group: ConsumerGroup, write: Writer) -> None:
        classic = downgraded(group, self._topics(), self._clock.wall_ms)
        log.info("group %s becomes a classic group of %d members", group.group_id, len(classic.members))
        self._consumer.forget(group)
        write(*group_tombstones(group))
        assignments = {member.member_id: member.assignment for member in classic.members.values()}
        write.append(classic_group_record(classic, assignments))
        self.groups[group.group_id] = classic
        self._classic.watch(classic)
        self._classic.rebalance(classic, "the last member of the consumer protocol is gone")

        def undone() -> None:
            self._classic.forget(classic)
            self._rewatch(group)

        write.when_undone(undone)

    # -- describing ------------------------------------------------------------------------------------------------

    def describe(self, caller: Caller, group_id: str) -> DescribedGroup:
        """DescribeGroups for one group."""
        group = self.groups.get(group_id)
        if isinstance(group, ClassicGroup):
            return describe_classic(group)
        missing = DescribedGroup(group_id=group_id, group_state=ClassicState.DEAD.value)
        if caller.version >= _DEAD_WITH_ERROR_SINCE:
            missing.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            kind = "classic group" if group is not None else "group"
            missing.error_message = f"there is no {kind} {group_id}"
        return missing

    def describe_consumer(self, group_id: str) -> DescribedConsumerGroup:
        """ConsumerGroupDescribe for one group."""
        group = self.groups.get(group_id)
        if isinstance(group, ConsumerGroup):
            return describe_consumer(group, self._topics(), self._settings.consumer_assignors[0])
        kind = "consumer group" if group is not None else "group"
        return DescribedConsumerGroup(
            group_id=group_id, error_code=ErrorCode.GROUP_ID_NOT_FOUND, error_message=f"there is no {kind} {group_id}"
        )

    def list_groups(self, states: frozenset[str], types: frozenset[str]) -> list[ListedGroup]:
        """ListGroups; filters are lower-case names, an empty one lets everything through."""
        listed = []
        for group in self.groups.values():
            kind = "classic" if isinstance(group, ClassicGroup) else "consumer"
            if types and kind not in types:
                continue
            state = group.state.value
            if states and state.lower() not in states:
                continue
            protocol_type = (group.protocol_type or "") if isinstance(group, ClassicGroup) else CONSUMER_PROTOCOL_TYPE
            listed.append(
                ListedGroup(group_id=group.group_id, protocol_type=protocol_type, group_state=state, group_type=kind)
            )
        return listed

    def delete_group(self, group_id: str) -> Result[ErrorCode]:
        """DeleteGroups for one group: its offsets and itself, if it has no members."""
        group = self._group(group_id)
        if group.state not in _EMPTY_STATES:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP, f"group {group_id} has members")
        records: list[Any] = [*self.offsets.delete_all(group_id), *_tombstones(group)]
        return Result(records, ErrorCode.NONE)

    # -- offsets ---------------------------------------------------------------------------------------------------

    def commit_offsets(self, caller: Caller, request: OffsetCommitRequest) -> Result[OffsetCommitResponse]:
        """OffsetCommit by a member, or by anybody (generation -1, no member id) for a group without members."""
        group = self.groups.get(request.group_id)
        if group is None:
            if request.generation_id_or_member_epoch >= 0:
                since = caller.version >= _GROUP_ID_NOT_FOUND_SINCE
                code = ErrorCode.GROUP_ID_NOT_FOUND if since else ErrorCode.ILLEGAL_GENERATION
                raise KafkaError(code, f"group {request.group_id} does not exist")
            group = self._new_classic_group(request.group_id)
        if isinstance(group, ConsumerGroup):
            refused = check_consumer_commit(group, caller, request)
        else:
            refused = {}
            check_classic_commit(group, request)
            if group.state in _TOUCHED_STATES:
                self._classic.touch(group, request.member_id)
        records, response = self.offsets.commit(request, self._clock.wall_ms(), refused)
        return Result(records, response)

    def keep(self, commit: CommitRequest) -> bool:
        """:meth:`commit_offsets` for a request in its ordinary form; false where not all that it asks for may be committed."""
        group = self.groups.get(commit.group_id)
        if group is None:
            if commit.generation_id_or_member_epoch >= 0:
                return False
            self._new_classic_group(commit.group_id)
        elif not may_commit(group, commit):
            return False
        elif isinstance(group, ClassicGroup) and group.state in _TOUCHED_STATES:
            self._classic.touch(group, commit.member_id)
        self.offsets.keep(commit, self._clock.wall_ms())
        return True

    def fetch_offsets(self, request: OffsetFetchRequestGroup, *, require_stable: bool) -> OffsetFetchResponseGroup:
        """OffsetFetch for one group."""
        group = self.groups.get(request.group_id)
        if isinstance(group, ConsumerGroup):
            check_consumer_fetch(group, request)
        return self.offsets.fetch(request, require_stable=require_stable, known=group is not None)

    def delete_offsets(self, request: OffsetDeleteRequest) -> Result[OffsetDeleteResponse]:
        """OffsetDelete: of topics that the group does not read."""
        group = self._group(request.group_id)
        if isinstance(group, ClassicGroup) and group.state is not ClassicState.EMPTY and not group.is_consumer_group:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP, f"group {group.group_id} has members whose subscriptions cannot be known")
        records, response = self.offsets.delete(request, group.subscribes_to)
        return Result(records, response)

    def delete_topics(self, topics: Collection[str]) -> Result[None]:
        """Forget the offsets of topics that were deleted."""
        return Result(self.offsets.delete_topics(topics), None)

    # -- retention -------------------------------------------------------------------------------------------------

    def clean_up(self) -> Result[None]:
        """Expire offsets, and delete groups that have neither members nor offsets; again after the check interval."""
        self._timers.set(_CLEANUP, self._settings.offsets_retention_check_interval_ms, lambda _: self.clean_up())
        records: list[Any] = []
        for group in self.groups.values():
            expired = self._expired(group)
            records += expired
            if group.state not in _EMPTY_STATES or (isinstance(group, ClassicGroup) and group.pending_members):
                continue
            left = sum(1 for _ in self.offsets.of(group.group_id)) - len(expired)
            if left == 0 and not self.offsets.has_pending(group.group_id):
                records += _tombstones(group)
        return Result(records, None)

    def _expired(self, group: Group) -> list[OffsetRecord]:
        now, retention = self._clock.wall_ms(), self._settings.offsets_retention_ms

        def by_commit(committed: CommittedOffset) -> int:
            return committed.commit_timestamp_ms

        if isinstance(group, ConsumerGroup):
            return self.offsets.expired(group.group_id, now, retention, by_commit, group.subscribes_to)
        if group.protocol_type is None:
            return self.offsets.expired(group.group_id, now, retention, by_commit, lambda _: False)
        if group.state is ClassicState.EMPTY:
            emptied = group.state_timestamp_ms
            base = by_commit if emptied is None else (lambda _: emptied)
            return self.offsets.expired(group.group_id, now, retention, base, lambda _: False)
        if group.state is ClassicState.STABLE and group.subscribed_topics() is not None:
            return self.offsets.expired(group.group_id, now, retention, by_commit, group.subscribes_to)
        return []

    # -- the runtime's shard ---------------------------------------------------------------------------------------

    def encode(self, record: GroupRecord | OffsetRecord) -> Entry:
        """Key and value as they stand in the log."""
        return encode_record(record)

    def replay(self, record: GroupRecord | OffsetRecord, producer: Producer | None = None) -> None:
        """Apply a record."""
        if isinstance(record, OffsetRecord):
            self.offsets.replay(record, producer)
            if record.committed is not None and record.group not in self.groups:
                self.groups[record.group] = ClassicGroup(record.group, self._clock.wall_ms())
        elif isinstance(record.key, GroupMetadataKey):
            self._replay_classic(record.key.group, record.value)
        elif not isinstance(record.key, ConsumerGroupPartitionMetadataKey):
            self._replay_consumer(record)

    def _replay_classic(self, group_id: str, value: Any) -> None:
        if isinstance(value, GroupMetadataValue):
            self.groups[group_id] = classic_group_from(group_id, value, self._clock.wall_ms())
        elif isinstance(group := self.groups.get(group_id), ClassicGroup):
            del self.groups[group_id]
            self._classic.forget(group)

    def _replay_consumer(self, record: GroupRecord) -> None:
        group_id: str = getattr(record.key, "group_id")  # noqa: B009 -- every key of a consumer group has one
        self._standing.revoke(group_id)
        group = self.groups.get(group_id)
        if isinstance(record.key, ConsumerGroupMetadataKey) and record.value is None:
            if isinstance(group, ConsumerGroup):
                del self.groups[group_id]
                self._consumer.forget(group)
            return
        if not isinstance(group, ConsumerGroup):
            if record.value is None:
                return
            # A log may tell of a group's offsets first, which alone make a classic group of it.
            group = self.groups[group_id] = ConsumerGroup(group_id, self._undo)
        replay_record(group, record)

    def load(self, entries: Iterable[Entry], producer: Producer | None) -> None:
        """Apply a batch of the log."""
        for key, value in entries:
            try:
                record = decode_record(key, value)
            except (ProtocolError, KafkaError) as error:
                # A newer broker may have written what this one does not know; the rest of the log still counts.
                log.warning("a record of __consumer_offsets is passed over: %s", error)
                continue
            self.replay(record, producer)

    def load_plain(self, piece: bytes, position: int) -> int:
        """Apply plain batches, committed offsets without a Python object of each record; where that ended."""

        def other(key: bytes, value: bytes | None) -> None:
            self.load([(key, value)], None)

        return self.offsets.load(piece, position, self._loaded_offsets_of, other)

    def _loaded_offsets_of(self, group_id: str) -> None:
        """A group has offsets: there is one."""
        if group_id not in self.groups:
            self._new_classic_group(group_id)

    def catch_up(self, batches: bytes) -> None:
        """Apply commits that the network threads have taken."""
        end = self.load_plain(batches, 0)
        assert end == len(batches), "network threads append plain batches"

    def end_transaction(self, producer_id: int, *, commit: bool) -> None:
        """Apply the end of a transaction."""
        self.offsets.end_transaction(producer_id, commit=commit)

    def loaded(self) -> None:
        """Await heartbeats, and begin to look for what has expired."""
        for group_id in self.offsets.groups():
            self._loaded_offsets_of(group_id)
        for group in list(self.groups.values()):
            self._watch(group)
        self._timers.set(_CLEANUP, self._settings.offsets_retention_check_interval_ms, lambda _: self.clean_up())

    def unloaded(self) -> None:
        """Answer everybody who waits."""
        for group in list(self.groups.values()):
            if isinstance(group, ClassicGroup):
                self._classic.abandon(group)
            else:
                self._standing.forget(group.group_id)

    def standing_round(self, group_id: str, member_id: str, epoch: int) -> int | None:
        """Whether a member's heartbeat that was answered just now will be answered alike until something changes.

        Returns:
            The round of :class:`StandingAnswers` for which that holds; None when it does not.
        """
        group = self.groups.get(group_id)
        return self._standing.round(group_id) if group is not None and group.stands(member_id, epoch) else None

    def commits_round(self, commit: CommitRequest) -> int | None:
        """Whether commits of who made one just now may be made until something changes.

        Returns:
            The round of :class:`StandingAnswers` for which that holds; None when it does not.
        """
        group = self.groups.get(commit.group_id)
        if group is None:
            return None
        epoch = commit.generation_id_or_member_epoch
        allowed = may_commit(group, commit) if epoch < 0 else group.stands(commit.member_id, epoch)
        return self._standing.round(commit.group_id) if allowed else None

    def touched_by_commits(self, group_id: str) -> bool:
        """Whether a commit counts as a heartbeat of the member."""
        return isinstance(self.groups.get(group_id), ClassicGroup)

    def topics_changed(self, topics: Collection[str], *, names: bool) -> None:
        """Topics were made, grew, moved or went; ``names`` tells whether regular expressions may match anew."""
        for group in self.groups.values():
            if isinstance(group, ConsumerGroup) and (
                (names and group.subscribed_regexes) or any(group.subscribes_to(topic) for topic in topics)
            ):
                self._consumer.refresh(group)


def _tombstones(group: Group) -> list[GroupRecord]:
    return group_tombstones(group) if isinstance(group, ConsumerGroup) else [classic_group_tombstone(group.group_id)]
