"""The producer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kafkax._core.accumulator import Accumulator
from kafkax._core.lookout import Lookout
from kafkax._core.message import Message
from kafkax.client.base import BaseClient
from kafkax.client.interceptors import Interceptors, ProducerRecord
from kafkax.client.loop import timed_out
from kafkax.client.metrics import ProducerMetrics
from kafkax.client.sender import Sender
from kafkax.client.transactions import GroupMetadata, Transactions
from kafkax.client.types import TopicPartition
from kafkax.config import ConfigError
from kafkax.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Producer"]

_OF_A_RECORD = {"value", "key", "partition", "timestamp", "headers", "callback", "_error"}
_OUTSIDE = KafkaError(ErrorCode.INVALID_TXN_STATE, "no transaction is open; begin_transaction() comes before produce()")


class Producer(Accumulator, BaseClient):
    """Sends records in the background, in batches, in order, without duplicates unless that is turned off.

    :meth:`produce` takes a record and returns; a thread of the producer sends it. What became of it is told to
    ``on_delivery``, which runs in :meth:`poll` and :meth:`flush`. A producer may be used by many threads.

    Args:
        config: names to values; ``bootstrap.servers`` is needed. ``on_delivery`` is the function for records that have none of
            their own.

    Raises:
        ConfigError: a config is not known or not allowed.
    """

    _shared = True
    """Whether callers send and receive on their own threads, too."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        BaseClient.__init__(self, "P", config)
        known = self._config
        Accumulator.__init__(
            self,
            known["batch.size"],
            known["batch.num.messages"],
            known["message.max.bytes"],
            known["queue.buffering.max.messages"],
            known["queue.buffering.max.kbytes"] * 1024,
            known["partitioner"],
        )
        self.on_delivery = known["on_delivery"]
        self.interceptors = Interceptors(known["interceptors"])
        if known["interceptors"]:
            setattr(self, "produce", self._intercepted)  # noqa: B010 - the method of the core takes what is not intercepted
        self._idle: list[Lookout] = []
        self._sender = Sender(self._cluster, self, shared=self._shared)
        self._io.on_fork = self._forked
        if self._sender.transactions is not None:
            self.refuse(_OUTSIDE)
        # Ctrl-C may end whatever Python runs on a caller's thread, so none does here.
        learn: Callable[[str], object] = partial(self._io.loop.call_soon_threadsafe, self._sender.want_topic)  # type: ignore[arg-type]
        prompt = self._shared and not known["linger.ms"]
        full = self._sender.filled if self._shared else self._sender.ask
        self.attach(self._sender.send_now if prompt else self._sender.ask, learn, full)

    def _forked(self, error: BaseException) -> None:
        """Leave the sockets to the process that this one was forked off."""
        self.refuse(error)
        self._sender.leave()

    def _settled(self) -> bool:
        """Whether there is something to report, or nothing to wait for."""
        return bool(self.reports) or not self.outstanding

    def _wait(self, seconds: float) -> None:
        """Wait until there is something to report, or nothing to wait for, and take answers meanwhile.

        Args:
            seconds: negative waits as long as it takes.
        """
        end = math.inf if seconds < 0 else time.monotonic() + seconds
        # Each who waits has one of his own: what wakes one is gone for others.
        lookout = self._idle.pop() if self._idle else Lookout()
        self.waiting.append(lookout)
        try:
            while not self._settled() and (left := end - time.monotonic()) > 0:
                self._io.check()
                lookout.wait(self._settled, self._sender.channels, -1 if left == math.inf else math.ceil(left * 1000))
        finally:
            self.waiting.remove(lookout)
            self._idle.append(lookout)

    def poll(self, timeout: float = -1) -> int:
        """Run the ``on_delivery`` functions of what was delivered or failed.

        Args:
            timeout: seconds to wait for the first; negative waits as long as it takes, if there is anything to wait for.

        Returns:
            How many records were reported.
        """
        self._sender.visit()
        if timeout and not self.reports:
            self._wait(timeout)
        return self.serve()

    def flush(self, timeout: float = -1) -> int:
        """Send everything now, wait for it and run its ``on_delivery`` functions.

        Args:
            timeout: seconds; negative waits as long as it takes, which ``delivery.timeout.ms`` bounds.

        Returns:
            How many records are still not reported; 0 unless the time was too short.
        """
        end = math.inf if timeout < 0 else time.monotonic() + timeout
        self._io.check()
        with self._sender.hurry():
            while True:
                self.serve()
                left = end - time.monotonic()
                if not self.outstanding or left <= 0:
                    return self.outstanding
                self._wait(-1 if left == math.inf else left)

    def produce_batch(
        self,
        topic: str,
        messages: Sequence[dict[str, Any]],
        partition: int = -1,
        on_delivery: Any = None,
        *,
        callback: Any = None,
    ) -> int:
        """Take many records for one topic, as :meth:`produce` takes one.

        Args:
            messages: dicts with some of ``value``, ``key``, ``partition``, ``timestamp``, ``headers`` and ``callback``. One that
                is refused gets its error as ``_error``, and the others are taken all the same.
            partition, on_delivery: for records that name none themselves.
            callback: another name of ``on_delivery``.

        Returns:
            How many were taken.

        Raises:
            TypeError: an entry is no dict, or has a key that is not known; nothing was taken then.
            RuntimeError: the producer is closed, or was forked.
        """
        for each in messages:
            if not isinstance(each, dict) or not each.keys() <= _OF_A_RECORD:
                raise TypeError(f"{each!r} is refused; a dict with some of {', '.join(sorted(_OF_A_RECORD))} is allowed")
        taken = 0
        default = on_delivery or callback
        for each in messages:
            try:
                self.produce(
                    topic,
                    each.get("value"),
                    each.get("key"),
                    each.get("partition", partition),
                    each.get("callback") or default,
                    each.get("timestamp", 0),
                    each.get("headers"),
                )
                taken += 1
            except (BufferError, KafkaError) as error:
                each["_error"] = error
        return taken

    def purge(self, in_queue: bool = True, in_flight: bool = True, blocking: bool = True) -> None:
        """Give records up; their reports, with OPERATION_NOT_ATTEMPTED, come by :meth:`poll` and :meth:`flush`.

        Args:
            in_queue: those that were not sent yet.
            in_flight: those that were sent and are not acknowledged; whether the broker has them is not known.
            blocking: whether to wait until that is done.

        Raises:
            KafkaError: REQUEST_TIMED_OUT; the client is too busy.
        """
        if not blocking:
            self._io.call(self._sender.purge, in_queue, in_flight)
            return

        async def work() -> None:
            self._sender.purge(in_queue, in_flight)

        self._io.run(work(), self._cluster.timeout, "purge")

    @property
    def metrics(self) -> ProducerMetrics:
        """What this producer did."""
        metrics: ProducerMetrics = self._sender.metrics
        return metrics

    def _intercepted(
        self,
        topic: str,
        value: Any = None,
        key: Any = None,
        partition: int = -1,
        on_delivery: Any = None,
        timestamp: int = 0,
        headers: Any = None,
        *,
        callback: Any = None,
    ) -> None:
        """``produce`` of a producer with interceptors."""
        wanted = on_delivery or callback or self.on_delivery
        record = self.interceptors.send(ProducerRecord(topic, value, key, partition, timestamp, headers))

        def acknowledge(error: KafkaError | None, message: Message) -> None:
            self.interceptors.acknowledge(error, message)
            if wanted is not None:
                wanted(error, message)

        Accumulator.produce(
            self, record.topic, record.value, record.key, record.partition, acknowledge, record.timestamp, record.headers
        )

    # transactions

    def _transactional(self) -> Transactions:
        transactions = self._sender.transactions
        if transactions is None:
            raise ConfigError("transactional.id is not set; transactions need one that no other producer uses at the same time")
        self._io.check()
        return transactions

    def _await(self, work: Coroutine[Any, Any, None], timeout: float, what: str) -> None:
        limit = self._config["transaction.timeout.ms"] / 1000 + 1 if timeout < 0 else timeout
        self._io.run(work, limit, what)

    def init_transactions(self, timeout: float = -1) -> None:
        """Register ``transactional.id``; once, before the first transaction. Ends what an earlier producer with it left open, and
        fences that producer off.

        Args:
            timeout: seconds; negative is ``transaction.timeout.ms``.

        Raises:
            TransactionError: it is refused.
            KafkaError: REQUEST_TIMED_OUT; may be called again.
        """
        transactions = self._transactional()
        self._await(transactions.initialize(), timeout, "init_transactions")

    def begin_transaction(self) -> None:
        """Begin a transaction: what is produced from now on belongs to it.

        Raises:
            KafkaError: INVALID_TXN_STATE when one is open, or before :meth:`init_transactions`.
        """
        self._transactional().begin()
        self.refuse(None)

    def send_offsets_to_transaction(
        self, positions: Sequence[TopicPartition], group_metadata: GroupMetadata, timeout: float = -1
    ) -> None:
        """Commit offsets of a consumer with the transaction, so that they count only if it is committed.

        Args:
            positions: the offsets after the last records that were processed.
            group_metadata: what :meth:`kafkax.Consumer.consumer_group_metadata` gave.
            timeout: seconds; negative is ``transaction.timeout.ms``.

        Raises:
            TransactionError: the group refuses them, since it has rebalanced; abort the transaction.
        """
        transactions = self._transactional()
        if positions:
            self._await(transactions.send_offsets(list(positions), group_metadata), timeout, "send_offsets_to_transaction")

    def commit_transaction(self, timeout: float = -1) -> None:
        """Send and settle everything, running ``on_delivery`` functions, then commit.

        Args:
            timeout: seconds; negative is ``transaction.timeout.ms``.

        Raises:
            TransactionError: it can't be committed; ``fatal`` says whether to abort it or to close the producer.
            KafkaError: REQUEST_TIMED_OUT: whether it is committed is not known; call this again.
        """
        self._end_transaction(True, timeout)

    def abort_transaction(self, timeout: float = -1) -> None:
        """Give up what is queued and abort; consumers that read committed records never see those of this transaction.

        Args:
            timeout: seconds; negative is ``transaction.timeout.ms``.

        Raises:
            TransactionError: fatal: close the producer.
            KafkaError: REQUEST_TIMED_OUT; call this again.
        """
        transactions = self._transactional()
        self._io.call(transactions.abandon)
        self._end_transaction(False, timeout)

    def _end_transaction(self, commit: bool, timeout: float) -> None:
        transactions = self._transactional()
        self.refuse(_OUTSIDE)
        limit = self._config["transaction.timeout.ms"] / 1000 if timeout < 0 else timeout
        end = time.monotonic() + limit
        what = "commit_transaction" if commit else "abort_transaction"
        if self.flush(limit):
            raise timed_out(what, limit)
        self._await(transactions.end(commit), max(end - time.monotonic(), 0.0), what)

    def __len__(self) -> int:
        """Records that were taken and not yet reported."""
        return self.outstanding

    def __bool__(self) -> bool:
        return True

    def close(self, timeout: float = 30.0) -> None:
        """Flush, then end the producer's thread; a second call does nothing.

        Args:
            timeout: seconds for the flush; what is not delivered then is given up.
        """
        if not self._io.closed and not self._io.forked:
            self.flush(timeout)
        self.refuse(RuntimeError("this producer is closed"))
        BaseClient.close(self, 5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
