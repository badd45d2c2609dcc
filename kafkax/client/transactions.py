"""The transactional side of a producer (KIP-98, KIP-360, KIP-447), on its I/O thread.

A partition is added to the transaction at its coordinator before the first batch for it is sent; the end of the transaction is
told to the coordinator once every batch is settled.  A batch that fails for good makes the transaction one that can only be
aborted; what was queued behind it is given up, and the abort takes a new epoch so that sequences begin anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kafkax.client.cluster import GROUP, TRANSACTION, Cluster
from kafkax.client.offsets import to_commit
from kafkax.client.types import TopicPartition, by_topic
from kafkax.errors import ErrorCode, KafkaError, error_code
from kafkax.protocol.message import Request, Response
from kafkax.protocol.messages.add_offsets_to_txn import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse
from kafkax.protocol.messages.add_partitions_to_txn import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopic,
)
from kafkax.protocol.messages.end_txn import EndTxnRequest, EndTxnResponse
from kafkax.protocol.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse
from kafkax.protocol.messages.txn_offset_commit import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
)

__all__ = ["GroupMetadata", "TransactionError", "Transactions"]

Key = tuple[str, int]
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
"""Seconds between attempts: the markers of the transaction before are written within milliseconds."""
_CLIENTS_ADD_PARTITIONS = 3
_CLIENTS_END, _CLIENTS_COMMIT_OFFSETS = 4, 4
"""Newest versions that name every step to the coordinator; later ones have brokers add partitions on their own (KIP-890)."""
_MOVED = frozenset(
    {
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.BROKER_NOT_AVAILABLE,
    }
)
_FATAL = frozenset(
    {
        ErrorCode.PRODUCER_FENCED,
        ErrorCode.INVALID_PRODUCER_EPOCH,
        ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
        ErrorCode.INVALID_TXN_STATE,
        ErrorCode.UNSUPPORTED_VERSION,
    }
)


class TransactionError(KafkaError):
    """A transaction that can't be committed.

    Attributes:
        fatal: this producer can't go on (a newer one with the same ``transactional.id`` took over, or it may not use it): close
            it. Otherwise call ``abort_transaction`` and begin anew.
    """

    def __init__(self, code: ErrorCode, message: str, *, fatal: bool) -> None:
        super().__init__(code, message)
        self.fatal = fatal


class GroupMetadata(NamedTuple):
    """Who a consumer is in its group; what ``send_offsets_to_transaction`` has the coordinator check."""

    group_id: str
    generation: int = -1
    member_id: str = ""
    instance_id: str | None = None


class Transactions:
    """What a producer and its coordinator know of the transaction.

    Args:
        cluster: connections and metadata.
        begin_sequences: called with a producer id and epoch under which sequences begin at 0.
        wake: called when batches may be sent, or are to be given up.
    """

    def __init__(self, cluster: Cluster, begin_sequences: Callable[[int, int], None], wake: Callable[[], None]) -> None:
        self._cluster = cluster
        self._begin_sequences = begin_sequences
        self._wake = wake
        self.id: str = cluster.config["transactional.id"]
        self._timeout_ms: int = cluster.config["transaction.timeout.ms"]
        self._producer = (-1, -1)
        self._added: set[Key] = set()
        self._wanted: set[Key] = set()
        self._groups: set[str] = set()
        self._adding: asyncio.Task[None] | None = None
        self._ending: bool | None = None
        self._fatal: TransactionError | None = None
        self.open = False
        self.failure: KafkaError | None = None
        self.gap = False

    @property
    def ready(self) -> bool:
        """Whether :meth:`initialize` was done."""
        return self._producer[0] >= 0

    # what the sender asks

    def may_send(self, key: Key) -> bool:
        """Whether a partition belongs to the transaction; sees to it otherwise, and wakes the sender then."""
        if key in self._added:
            return True
        self._wanted.add(key)
        if self._adding is None:
            self._adding = self._cluster.io.spawn(self._add())
        return False

    def fail(self, error: KafkaError, *, gap: bool) -> None:
        """Note that a batch failed for good; ``gap``: the broker may miss sequences."""
        self.gap = self.gap or gap
        if self.failure is None and self.open:
            self.failure = error
        self._cluster.loop.call_soon(self._wake)

    async def _add(self) -> None:
        try:
            while self._wanted and self.failure is None:
                keys = sorted(self._wanted)
                await self._add_all(keys)
                self._added.update(keys)
                self._wanted.difference_update(keys)
        except KafkaError as error:
            self.fail(error, gap=False)
        finally:
            self._adding = None
        self._wake()

    async def _add_all(self, keys: Sequence[Key]) -> None:
        producer_id, epoch = self._producer
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.id,
            v3_and_below_producer_id=producer_id,
            v3_and_below_producer_epoch=epoch,
            v3_and_below_topics=[
                AddPartitionsToTxnTopic(name=name, partitions=numbers) for name, numbers in by_topic(keys).items()
            ],
        )

        def codes(answer: AddPartitionsToTxnResponse) -> list[int]:
            # OPERATION_NOT_ATTEMPTED only says that another partition has the error that counts.
            found = [
                each.partition_error_code for topic in answer.results_by_topic_v3_and_below for each in topic.results_by_partition
            ]
            return sorted(found, key=lambda code: code == ErrorCode.OPERATION_NOT_ATTEMPTED)

        what = f"adding {', '.join(f'{topic}-{number}' for topic, number in keys[:5])} to transaction {self.id}"
        await self._ask(request, AddPartitionsToTxnResponse, codes, what, most=_CLIENTS_ADD_PARTITIONS)

    # the coordinator

    async def _ask(
        self,
        request: Request,
        response: type[Response],
        codes: Callable[[Any], list[int]],
        what: str,
        *,
        most: int | None = None,
        group: str | None = None,
    ) -> Any:
        """Ask the coordinator of the transaction, or of a group, until it does what is asked or refuses for good."""
        kind, key = (TRANSACTION, self.id) if group is None else (GROUP, group)
        deadline = self._cluster.loop.time() + self._timeout_ms / 1000
        pause = _FIRST_PAUSE
        while True:
            try:
                connection = await self._cluster.connection(await self._cluster.coordinator(kind, key))
                version = connection.version(type(request), most)
                answer = await connection.request(request, response, self._cluster.timeout, version)
                code = next((error_code(each) for each in codes(answer) if each), ErrorCode.NONE)
                if code is ErrorCode.NONE:
                    return answer
                raise KafkaError(code, f"{what}: {connection.address}: {code.message}")
            except KafkaError as error:
                if error.code in _MOVED:
                    self._cluster.lost_coordinator(kind, key)
                if not error.retriable or self._cluster.loop.time() + pause > deadline:
                    raise self._judge(error) from None
                self._cluster.report(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _judge(self, error: KafkaError) -> TransactionError:
        """What an error means for the transaction, and for the producer."""
        fatal = error.code in _FATAL
        hint = "close this producer" if fatal else "abort the transaction and begin anew"
        if error.code in (ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH):
            hint = (
                f"another producer with transactional.id={self.id} took over, or the transaction outlasted "
                f"transaction.timeout.ms={self._timeout_ms}; {hint}"
            )
        judged = TransactionError(error.code, f"{error}; {hint}", fatal=fatal)
        if fatal:
            self._fatal = judged
        return judged

    def check(self) -> None:
        """Raise what made this producer useless, if anything did.

        Raises:
            TransactionError: fatal.
        """
        if self._fatal is not None:
            raise self._fatal

    # the life of transactions

    async def initialize(self) -> None:
        """Get a producer id for the transactional id; ends what an earlier producer left open and fences it off."""
        self.check()
        producer_id, epoch = self._producer
        request = InitProducerIdRequest(
            transactional_id=self.id, transaction_timeout_ms=self._timeout_ms, producer_id=producer_id, producer_epoch=epoch
        )
        what = f"initializing transactional.id={self.id}"
        answer = await self._ask(request, InitProducerIdResponse, lambda found: [found.error_code], what, most=5)
        self._producer = (answer.producer_id, answer.producer_epoch)
        self.gap = False
        self._begin_sequences(*self._producer)

    def begin(self) -> None:
        """Begin a transaction; the coordinator hears of it with its first partition.

        Raises:
            KafkaError: INVALID_TXN_STATE in any other state than after :meth:`initialize` or the end of a transaction.
        """
        self.check()
        if not self.ready:
            raise _wrong("init_transactions() comes before begin_transaction()")
        if self.open:
            raise _wrong("a transaction is open already; commit or abort it first")
        self.open = True

    def abandon(self) -> None:
        """Give up what is queued, before an abort."""
        if self.open and self.failure is None:
            self.failure = KafkaError(ErrorCode.OPERATION_NOT_ATTEMPTED, "the transaction was aborted before this was sent")
        self._wake()

    async def send_offsets(self, offsets: Sequence[TopicPartition], group: GroupMetadata) -> None:
        """Have offsets of a group committed with the transaction."""
        self._check_open()
        producer_id, epoch = self._producer
        what = f"offsets of group {group.group_id} in transaction {self.id}"
        try:
            if group.group_id not in self._groups:
                request = AddOffsetsToTxnRequest(
                    transactional_id=self.id, producer_id=producer_id, producer_epoch=epoch, group_id=group.group_id
                )
                await self._ask(request, AddOffsetsToTxnResponse, lambda found: [found.error_code], what, most=3)
                self._groups.add(group.group_id)
            commit = TxnOffsetCommitRequest(
                transactional_id=self.id,
                group_id=group.group_id,
                producer_id=producer_id,
                producer_epoch=epoch,
                generation_id=group.generation,
                member_id=group.member_id,
                group_instance_id=group.instance_id,
                topics=to_commit(TxnOffsetCommitRequestTopic, TxnOffsetCommitRequestPartition, offsets),
            )
            await self._ask(
                commit, TxnOffsetCommitResponse, _offset_codes, what, most=_CLIENTS_COMMIT_OFFSETS, group=group.group_id
            )
        except KafkaError as error:
            self.fail(error, gap=False)
            raise

    async def end(self, commit: bool) -> None:
        """Tell the coordinator how the transaction ends, once every batch is settled; may be called again after a timeout.

        Raises:
            TransactionError: it can't be committed, see ``fatal``.
        """
        self.check()
        if not self.open:
            raise _wrong("no transaction is open; begin_transaction() comes first")
        if self._ending is not None and self._ending is not commit:
            raise _wrong(f"the transaction is being {'committed' if self._ending else 'aborted'}; call that again")
        if commit and self.failure is not None:
            raise TransactionError(
                self.failure.code, f"the transaction can't be committed: {self.failure}; abort it", fatal=False
            ) from self.failure
        while self._adding is not None:
            await asyncio.wait([self._adding])
        self._ending = commit
        if self._added or self._groups:
            producer_id, epoch = self._producer
            request = EndTxnRequest(transactional_id=self.id, producer_id=producer_id, producer_epoch=epoch, committed=commit)
            what = f"{'committing' if commit else 'aborting'} transaction {self.id}"
            await self._ask(request, EndTxnResponse, lambda found: [found.error_code], what, most=_CLIENTS_END)
        if self.gap:
            await self.initialize()
        self._added.clear()
        self._wanted.clear()
        self._groups.clear()
        self._ending = self.failure = None
        self.open = False

    def _check_open(self) -> None:
        self.check()
        if not self.open or self._ending is not None:
            raise _wrong("no transaction is open; begin_transaction() comes first")
        if self.failure is not None:
            raise TransactionError(self.failure.code, f"the transaction failed: {self.failure}; abort it", fatal=False)


def _wrong(text: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_TXN_STATE, text)


def _offset_codes(answer: TxnOffsetCommitResponse) -> list[int]:
    return [each.error_code for topic in answer.topics for each in topic.partitions]
