"""The clients for asyncio, under the names of the others: ``from kafkax.aio import Producer, Consumer, AdminClient``."""

from __future__ import annotations

from kafkax.client.aio.admin import AdminClient
from kafkax.client.aio.consumer import Consumer
from kafkax.client.aio.producer import Producer
from kafkax.client.types import TopicPartition

__all__ = ["AdminClient", "Consumer", "Producer", "TopicPartition"]
