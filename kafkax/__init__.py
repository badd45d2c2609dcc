"""A Kafka broker, cluster and client in Python with a Cython core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kafkax._core.message import Message
    from kafkax.client.admin import AdminClient
    from kafkax.client.consumer import Consumer
    from kafkax.client.producer import Producer
    from kafkax.client.types import TopicPartition
    from kafkax.errors import KafkaError

__version__ = "0.1.0"
__all__ = ["AdminClient", "Consumer", "KafkaError", "Message", "Producer", "TopicPartition", "__version__"]

_CLIENTS = {
    "Consumer": "kafkax.client.consumer",
    "AdminClient": "kafkax.client.admin",
    "Producer": "kafkax.client.producer",
    "KafkaError": "kafkax.errors",
    "Message": "kafkax._core.message",
    "TopicPartition": "kafkax.client.types",
}


def __getattr__(name: str) -> Any:
    """Import a client when it is first asked for: a broker starts without them."""
    if name not in _CLIENTS:
        raise AttributeError(f"module 'kafkax' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_CLIENTS[name]), name)
