"""Producer ids: blocks of 1000 from the coordination store, handed out one by one; no id is ever given twice."""

from __future__ import annotations

import asyncio

from kafkax.cluster import znodes
from kafkax.cluster.store import BadVersionError, CoordinationStore
from kafkax.cluster.znodes import ProducerIdBlock
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["BLOCK_SIZE", "ProducerIds", "allocate_block"]

BLOCK_SIZE = 1000
_LAST = 2**63 - 1


async def allocate_block(store: CoordinationStore, broker_id: int) -> ProducerIdBlock:
    """Take the next block for a broker.  A lost answer skips a block, which does no harm.

    Raises:
        KafkaError: UNKNOWN_SERVER_ERROR when the ids are used up.
    """
    while True:
        data, stat = await store.get(znodes.PRODUCER_ID_BLOCK)
        last = ProducerIdBlock.decode(data)
        first = 0 if last is None else last.last + 1
        if first > _LAST - BLOCK_SIZE:
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "all producer ids are used up")
        block = ProducerIdBlock(broker_id, first, first + BLOCK_SIZE - 1)
        try:
            await store.set(znodes.PRODUCER_ID_BLOCK, block.encode(), stat.version)
        except BadVersionError:
            continue
        return block


class ProducerIds:
    """Producer ids of one broker."""

    def __init__(self, store: CoordinationStore, broker_id: int) -> None:
        self._store = store
        self._broker_id = broker_id
        self._next = 0
        self._last = -1
        self._lock = asyncio.Lock()

    async def next(self) -> int:
        """An id that nobody else has or had."""
        async with self._lock:
            if self._next > self._last:
                block = await allocate_block(self._store, self._broker_id)
                self._next, self._last = block.first, block.last
            self._next += 1
            return self._next - 1
