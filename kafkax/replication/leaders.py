"""The replicated partitions that this broker leads: their followers' progress, high watermarks and in-sync replicas.

What to decide stands in :mod:`kafkax.replication.leadership`; here it is joined to the logs, to the events of the data plane
and to the controller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, Protocol

from kafkax._core.notify import NotifyQueue
from kafkax._core.partition import Wait
from kafkax.clock import Clock
from kafkax.errors import ErrorCode, KafkaError
from kafkax.model import TopicPartition
from kafkax.replication.leadership import IsrChange, Leadership
from kafkax.replication.replica import Replica

__all__ = ["IsrRequests", "Leaders", "Rules"]

_log = logging.getLogger(__name__)
_ASK_AGAIN_MS = 500
"""Pause before an ISR change that the controller refused is asked for again."""


class Rules(NamedTuple):
    """What a topic's configs ask of a replicated partition."""

    min_in_sync: int
    """``min.insync.replicas``."""
    flushed: bool
    """Whether ``kafkax.durability`` is ``flushed``: a replica contributes what it has on its disk."""


class IsrRequests(Protocol):
    """Who brings ISR changes to the controller."""

    def ask(self, partition: TopicPartition, topic_id: object, change: IsrChange) -> None:
        """Ask until the controller decides; the outcome comes back through :meth:`Leaders.refused` or a newer state."""


class _Led:
    """A partition that is led here."""

    def __init__(self, replica: Replica, leadership: Leadership) -> None:
        self.replica = replica
        self.leadership = leadership
        self.not_before_ms = 0
        self.wait: Wait | None = None


class Leaders:
    """Minds the replicated partitions that this broker leads.  All of it runs on the event loop.

    Args:
        broker_id: this broker.
        broker_epoch: gives its present epoch.
        rules: gives what a partition's topic asks for.
        lag_max_ms: ``replica.lag.time.max.ms``.
        queue: brings events of the data plane to the loop.
    """

    def __init__(
        self,
        broker_id: int,
        broker_epoch: Callable[[], int],
        rules: Callable[[TopicPartition], Rules],
        lag_max_ms: int,
        queue: NotifyQueue,
        clock: Clock,
    ) -> None:
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._rules = rules
        self._lag_max_ms = lag_max_ms
        self._queue = queue
        self._clock = clock
        self._led: dict[TopicPartition, _Led] = {}
        self._requests: IsrRequests | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, requests: IsrRequests) -> None:
        """Begin to look for followers that lag."""
        self._requests = requests
        self._task = asyncio.get_running_loop().create_task(self._look_for_laggards())

    async def close(self) -> None:
        """Stop."""
        self.forget(list(self._led))
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _now_ms(self) -> int:
        return int(self._clock.monotonic() * 1000)

    # What is led

    def lead(self, replicas: Iterable[Replica]) -> None:
        """Lead these from now on, or take over a newer state of them."""
        for replica in replicas:
            key, now = replica.key, self._now_ms()
            led = self._led.get(key)
            if len(replica.replicas) == 1:
                # the data plane moves the mark of a partition without followers
                self.forget([key])
                continue
            same = led is not None and led.replica.partition is replica.partition
            if led is not None and same and led.leadership.leader_epoch == replica.leader_epoch:
                led.replica = replica
                led.leadership.update(replica.replicas, replica.isr, replica.partition_epoch, now)
            else:
                self.forget([key])
                leadership = Leadership(
                    self._broker_id,
                    self._broker_epoch(),
                    replica.leader_epoch,
                    replica.partition.log.log_end_offset,
                    replica.replicas,
                    replica.isr,
                    replica.partition_epoch,
                    now,
                )
                led = self._led[key] = _Led(replica, leadership)
                replica.partition.on_flushed(self._queue, partial(self._flushed, led))
            self._advance(led)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Lead these no longer."""
        for key in partitions:
            led = self._led.pop(key, None)
            if led is not None:
                led.replica.partition.on_flushed(self._queue, None)
                if led.wait is not None:
                    led.wait.cancel()

    def is_asked(self, partition: TopicPartition, change: IsrChange) -> bool:
        """Whether the change is still what is wanted; a newer state settles it."""
        led = self._led.get(partition)
        return led is not None and led.leadership.asked is change

    def leader_epoch_start(self, partition: TopicPartition) -> int | None:
        """Where this leadership began in the log, None when the partition is not led here or has no followers."""
        led = self._led.get(partition)
        return None if led is None else led.leadership.epoch_start

    # What happens

    def fetched(self, partition: TopicPartition, replica: int, broker_epoch: int, offset: int) -> None:
        """A follower has everything before ``offset``, the log being the leader's that far.

        Raises:
            KafkaError: NOT_LEADER_OR_FOLLOWER when this broker leads no such replica, or only knows a later life of it.
        """
        led = self._led.get(partition)
        if led is None:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        end = led.replica.partition.log.log_end_offset
        if not led.leadership.fetched(replica, broker_epoch, offset, end, self._now_ms()):
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER, f"{partition} has no such replica as {replica}")
        self._advance(led)
        if replica not in led.leadership.isr:
            self._change(led)

    def _flushed(self, led: _Led, _: int) -> None:
        if self._led.get(led.replica.key) is led:
            self._advance(led)

    def _grew(self, led: _Led, _: int) -> None:
        led.wait = None
        if self._led.get(led.replica.key) is led:
            self._advance(led)

    def _advance(self, led: _Led) -> None:
        """Let the high watermark follow what the replicas in sync have."""
        key, partition, leadership = led.replica.key, led.replica.partition, led.leadership
        if not partition.is_leader:
            return
        rules = self._rules(key)
        log, mark = partition.log, partition.high_watermark
        own = log.flushed_offset if rules.flushed else log.log_end_offset
        committed = leadership.committed(own, mark, rules.min_in_sync, self._now_ms(), self._lag_max_ms)
        if committed > mark:
            partition.high_watermark = committed
        alone = leadership.isr == (self._broker_id,)
        if alone and not rules.flushed and led.wait is None:
            # nobody's fetch and no flush will tell that there is more
            led.wait = partition.wait("log_end", log.log_end_offset + 1, self._queue, partial(self._grew, led))

    async def _look_for_laggards(self) -> None:
        while True:
            await asyncio.sleep(self._lag_max_ms / 2000)
            for led in list(self._led.values()):
                self._advance(led)
                self._change(led)

    # The ISR

    def _change(self, led: _Led) -> None:
        now = self._now_ms()
        if now < led.not_before_ms or self._requests is None or not led.replica.partition.is_leader:
            return
        partition = led.replica.partition
        change = led.leadership.change(partition.log.log_end_offset, partition.high_watermark, now, self._lag_max_ms)
        if change is not None:
            key = led.replica.key
            _log.info("%s: asking for the in-sync replicas %s instead of %s", key, sorted(change.members), led.replica.isr)
            self._requests.ask(key, partition.topic_id, change)

    def refused(self, partition: TopicPartition, change: IsrChange, *, retriable: bool) -> None:
        """The controller refused a change; see :meth:`Leadership.refused`."""
        led = self._led.get(partition)
        if led is not None and led.leadership.asked is change:
            led.leadership.refused(retriable=retriable)
            led.not_before_ms = self._now_ms() + _ASK_AGAIN_MS
