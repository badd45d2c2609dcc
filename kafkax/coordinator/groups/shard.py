"""One partition of ``__consumer_offsets``: the groups and offsets that hash to it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Any

from kafkax.clock import Clock
from kafkax.coordinator.batches import Entry
from kafkax.coordinator.groups.classic import ClassicGroup, ClassicState
from kafkax.coordinator.groups.classic_protocol import ClassicProtocol
from kafkax.coordinator.groups.records import (
    GroupRecord,
    classic_group_from,
    classic_group_tombstone,
    decode_record,
    encode_record,
)
from kafkax.coordinator.groups.settings import Caller, GroupSettings
from kafkax.coordinator.offset_records import CommittedOffset, OffsetRecord
from kafkax.coordinator.offsets import OffsetStore
from kafkax.coordinator.promise import Promise
from kafkax.coordinator.runtime import Producer, Result
from kafkax.coordinator.timers import KeyedTimers
from kafkax.coordinator.undo import UndoDict, UndoLog
from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.coordinator_records.classic_group import GroupMetadataKey, GroupMetadataValue
from kafkax.protocol.messages.describe_groups import DescribedGroup, DescribedGroupMember
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


class GroupShard:
    """The groups and offsets of one partition.

    Args:
        timers: of the shard.
        undo: of the shard.
        clock: time.
        settings: limits and delays.
    """

    def __init__(self, timers: KeyedTimers, undo: UndoLog, clock: Clock, settings: GroupSettings) -> None:
        self._timers = timers
        self._clock = clock
        self._settings = settings
        self.groups: UndoDict[str, ClassicGroup] = UndoDict(undo)
        self.offsets = OffsetStore(undo, settings.offset_metadata_max_bytes)
        self._classic = ClassicProtocol(timers, clock, settings)

    # -- groups ----------------------------------------------------------------------------------------------------

    def _group(self, group_id: str) -> ClassicGroup:
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
        return group

    def _classic_group(self, group_id: str) -> ClassicGroup:
        """The group, for requests that only a member may send: one that does not exist has no members."""
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group_id} does not exist; join again")
        return group

    def _new_classic_group(self, group_id: str) -> ClassicGroup:
        group = ClassicGroup(group_id, self._clock.wall_ms())
        # Until a record of it is written it is no more than its members' requests, which an append that fails leaves in place.
        dict.__setitem__(self.groups, group_id, group)
        return group

    def join(self, caller: Caller, request: JoinGroupRequest, reply: Promise[JoinGroupResponse]) -> Result[None]:
        """JoinGroup; the answer comes through ``reply``."""
        group = self.groups.get(request.group_id)
        if group is None:
            if request.member_id:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {request.group_id} does not exist; join without an id")
            group = self._new_classic_group(request.group_id)
        return self._classic.join(group, caller, request, reply)

    def sync(self, request: SyncGroupRequest, reply: Promise[SyncGroupResponse]) -> Result[None]:
        """SyncGroup; the answer comes through ``reply``."""
        return self._classic.sync(self._classic_group(request.group_id), request, reply)

    def heartbeat(self, request: HeartbeatRequest) -> ErrorCode:
        """Heartbeat."""
        return self._classic.heartbeat(self._classic_group(request.group_id), request)

    def leave(self, request: LeaveGroupRequest) -> Result[LeaveGroupResponse]:
        """LeaveGroup, with the members in a list as from version 3 on."""
        return self._classic.leave(self._classic_group(request.group_id), request)

    def describe(self, caller: Caller, group_id: str) -> DescribedGroup:
        """DescribeGroups for one group."""
        group = self.groups.get(group_id)
        if group is None:
            missing = DescribedGroup(group_id=group_id, group_state=ClassicState.DEAD.value)
            if caller.version >= _DEAD_WITH_ERROR_SINCE:
                missing.error_code = ErrorCode.GROUP_ID_NOT_FOUND
                missing.error_message = f"Group {group_id} not found."
            return missing
        stable = group.state is ClassicState.STABLE
        return DescribedGroup(
            group_id=group_id,
            group_state=group.state.value,
            protocol_type=group.protocol_type or "",
            protocol_data=(group.protocol_name or "") if stable else "",
            members=[
                DescribedGroupMember(
                    member_id=member.member_id,
                    group_instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    member_metadata=member.metadata(group.protocol_name) if stable else b"",
                    member_assignment=member.assignment if stable else b"",
                )
                for member in group.members.values()
            ],
        )

    def list_groups(self, states: frozenset[str], types: frozenset[str]) -> list[ListedGroup]:
        """ListGroups; filters are lower-case names, an empty one lets everything through."""
        return [
            ListedGroup(
                group_id=group.group_id,
                protocol_type=group.protocol_type or "",
                group_state=group.state.value,
                group_type="classic",
            )
            for group in self.groups.values()
            if (not states or group.state.value.lower() in states) and (not types or "classic" in types)
        ]

    def delete_group(self, group_id: str) -> Result[ErrorCode]:
        """DeleteGroups for one group: its offsets and itself, if it has no members."""
        group = self._group(group_id)
        if group.state is not ClassicState.EMPTY:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP, f"group {group_id} has members")
        records: list[Any] = [*self.offsets.delete_all(group_id), classic_group_tombstone(group_id)]
        return Result(records, ErrorCode.NONE)

    # -- offsets ---------------------------------------------------------------------------------------------------

    def commit_offsets(self, caller: Caller, request: OffsetCommitRequest) -> Result[OffsetCommitResponse]:
        """OffsetCommit by a member, or by anybody (generation -1, no member id) for a group without members."""
        group = self.groups.get(request.group_id)
        generation = request.generation_id_or_member_epoch
        if group is None:
            if generation >= 0:
                since = caller.version >= _GROUP_ID_NOT_FOUND_SINCE
                code = ErrorCode.GROUP_ID_NOT_FOUND if since else ErrorCode.ILLEGAL_GENERATION
                raise KafkaError(code, f"group {request.group_id} does not exist")
            group = self._new_classic_group(request.group_id)
        self._validate_classic_commit(group, request)
        if group.state in (ClassicState.STABLE, ClassicState.PREPARING_REBALANCE):
            self._classic.touch(group, request.member_id)
        records, response = self.offsets.commit(request, self._clock.wall_ms())
        return Result(records, response)

    @staticmethod
    def _validate_classic_commit(group: ClassicGroup, request: OffsetCommitRequest) -> None:
        generation = request.generation_id_or_member_epoch
        if generation < 0 and group.state is ClassicState.EMPTY:
            return
        if generation < 0 and not request.member_id and request.group_instance_id is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group.group_id} has members; only they may commit")
        group.validate(request.member_id, request.group_instance_id)
        if generation != group.generation:
            raise KafkaError(
                ErrorCode.ILLEGAL_GENERATION, f"{group.group_id} is at generation {group.generation}, not {generation}"
            )
        if group.state is ClassicState.COMPLETING_REBALANCE:
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS, f"{group.group_id} waits for its assignment; join again")

    def fetch_offsets(self, request: OffsetFetchRequestGroup, *, require_stable: bool) -> OffsetFetchResponseGroup:
        """OffsetFetch for one group."""
        return self.offsets.fetch(request, require_stable=require_stable, known=request.group_id in self.groups)

    def delete_offsets(self, request: OffsetDeleteRequest) -> Result[OffsetDeleteResponse]:
        """OffsetDelete: of topics that the group does not read."""
        group = self._group(request.group_id)
        if group.state is not ClassicState.EMPTY and not group.is_consumer_group:
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
            if group.state is ClassicState.EMPTY and not group.pending_members:
                left = sum(1 for _ in self.offsets.of(group.group_id)) - len(expired)
                if left == 0 and not (not expired and self.offsets.has_any(group.group_id)):
                    records.append(classic_group_tombstone(group.group_id))
        return Result(records, None)

    def _expired(self, group: ClassicGroup) -> list[OffsetRecord]:
        now, retention = self._clock.wall_ms(), self._settings.offsets_retention_ms

        def by_commit(committed: CommittedOffset) -> int:
            return committed.commit_timestamp_ms

        def by_state(committed: CommittedOffset) -> int:
            emptied = group.state_timestamp_ms
            return committed.commit_timestamp_ms if emptied is None else emptied

        if group.protocol_type is None:
            return self.offsets.expired(group.group_id, now, retention, by_commit, lambda _: False)
        if group.state is ClassicState.EMPTY:
            return self.offsets.expired(group.group_id, now, retention, by_state, lambda _: False)
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

    def _replay_classic(self, group_id: str, value: Any) -> None:
        if value is None:
            group = self.groups.pop(group_id)
            if group is not None:
                self._classic.forget(group)
        elif isinstance(value, GroupMetadataValue):
            self.groups[group_id] = classic_group_from(group_id, value, self._clock.wall_ms())

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

    def end_transaction(self, producer_id: int, *, commit: bool) -> None:
        """Apply the end of a transaction."""
        self.offsets.end_transaction(producer_id, commit=commit)

    def loaded(self) -> None:
        """Await heartbeats, and begin to look for what has expired."""
        for group in list(self.groups.values()):
            self._classic.watch(group)
        self._timers.set(_CLEANUP, self._settings.offsets_retention_check_interval_ms, lambda _: self.clean_up())

    def unloaded(self) -> None:
        """Answer everybody who waits."""
        for group in list(self.groups.values()):
            self._classic.abandon(group)
