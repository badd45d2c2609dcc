"""The replicated partitions that this broker leads: their followers' progress, high watermarks and in-sync replicas.

The core notes what followers fetch and moves the high watermark (:meth:`Partition.set_replicas`).  Who is in sync is decided
in :mod:`kafkax.replication.leadership`; here that is joined to the core and to the controller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from kafkax._core.notify import NotifyQueue
from kafkax.clock import Clock
from kafkax.model import TopicPartition
from kafkax.replication.leadership import IsrChange, Leadership
from kafkax.replication.replica import Replica

__all__ = ["IsrRequests", "Leaders"]

_log = logging.getLogger(__name__)
_ASK_AGAIN_MS = 500
"""Pause before an ISR change that the controller refused is asked for again."""


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


class Leaders:
    """Minds the replicated partitions that this broker leads.  All of it runs on the event loop.

    Args:
        broker_id: this broker.
        broker_epoch: gives its present epoch.
        lag_max_ms: ``replica.lag.time.max.ms``.
        queue: brings events of the data plane to the loop.
        throttled: whether a partition's followers are held to this broker's quota.
    """

    def __init__(
        self,
        broker_id: int,
        broker_epoch: Callable[[], int],
        lag_max_ms: int,
        queue: NotifyQueue,
        clock: Clock,
        throttled: Callable[[TopicPartition], bool] = lambda _: False,
    ) -> None:
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._lag_max_ms = lag_max_ms
        self._queue = queue
        self._clock = clock
        self._throttled = throttled
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
            self._tell_core(led)

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Lead these no longer."""
        for key in partitions:
            led = self._led.pop(key, None)
            if led is not None:
                led.replica.partition.forget_replicas(self._queue)

    def is_asked(self, partition: TopicPartition, change: IsrChange) -> bool:
        """Whether the change is still what is wanted; a newer state settles it."""
        led = self._led.get(partition)
        return led is not None and led.leadership.asked is change

    def leader_epoch_start(self, partition: TopicPartition) -> int | None:
        """Where this leadership began in the log, None when the partition is not led here or has no followers."""
        led = self._led.get(partition)
        return None if led is None else led.leadership.epoch_start

    # What happens

    def _tell_core(self, led: _Led) -> None:
        """Whom the high watermark waits for: a change of the ISR counts in both forms until it is decided (KIP-497)."""
        leadership = led.leadership
        counted = {*leadership.isr, *(leadership.asked.members if leadership.asked is not None else ())}
        led.replica.partition.set_replicas(
            self._queue,
            partial(self._may_join, led),
            [(follower, follower in counted) for follower in leadership.followers],
            leader_epoch=leadership.leader_epoch,
            epoch_start=leadership.epoch_start,
            lag_max_ms=self._lag_max_ms,
            throttled=self._throttled(led.replica.key),
        )

    def _may_join(self, led: _Led, _: int) -> None:
        if self._led.get(led.replica.key) is led:
            self._change(led)

    async def _look_for_laggards(self) -> None:
        while True:
            await asyncio.sleep(self._lag_max_ms / 2000)
            for led in list(self._led.values()):
                led.replica.partition.settle()
                self._change(led)

    # The ISR

    def _change(self, led: _Led) -> None:
        now = self._now_ms()
        if now < led.not_before_ms or self._requests is None or not led.replica.partition.is_leader:
            return
        partition = led.replica.partition
        for known in partition.replicas():
            led.leadership.progressed(known.replica, known.broker_epoch, known.offset, known.caught_up_ms)
        change = led.leadership.change(partition.log.log_end_offset, partition.high_watermark, now, self._lag_max_ms)
        if change is not None:
            key = led.replica.key
            _log.info("%s: asking for the in-sync replicas %s instead of %s", key, sorted(change.members), led.replica.isr)
            self._tell_core(led)
            self._requests.ask(key, partition.topic_id, change)

    def refused(self, partition: TopicPartition, change: IsrChange, *, retriable: bool) -> None:
        """The controller refused a change; see :meth:`Leadership.refused`."""
        led = self._led.get(partition)
        if led is not None and led.leadership.asked is change:
            led.leadership.refused(retriable=retriable)
            self._tell_core(led)
            led.not_before_ms = self._now_ms() + _ASK_AGAIN_MS
