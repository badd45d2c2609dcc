"""Who may ask what brokers ask of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafkax.errors import ErrorCode, KafkaError

if TYPE_CHECKING:
    from kafkax.broker.handlers.spec import RequestContext

__all__ = ["require_broker"]


def require_broker(context: RequestContext) -> None:
    """Let a request pass only by the listener that brokers use among themselves, in a cluster.

    Raises:
        KafkaError: CLUSTER_AUTHORIZATION_FAILED.
    """
    services = context.services
    if not services.member.clustered or context.listener != services.config.inter_broker_listener:
        raise KafkaError(
            ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
            "only brokers ask this, by the listener between them (inter.broker.listener.name)",
        )
