"""Telling clients that asked the wrong broker who leads a partition now (KIP-951), so that they need not ask for metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar
from uuid import UUID

from kafkax.broker.handlers.spec import RequestContext
from kafkax.errors import ErrorCode

__all__ = ["tell_leaders"]

_ASKED_THE_WRONG_BROKER = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)

Node = TypeVar("Node")


class Leader(Protocol):
    """The field ``CurrentLeader`` of an answer."""

    leader_id: int
    leader_epoch: int


def tell_leaders(
    context: RequestContext, node: Callable[..., Node], answered: Iterable[tuple[str, UUID, int, int, Leader]]
) -> list[Node]:
    """Fill in who leads the partitions that this broker does not.

    Args:
        node: makes a ``NodeEndpoint`` of the answer.
        answered: name (empty where it was asked for by id) and id of the topic, index, error code and ``CurrentLeader`` of
            every partition of the answer.

    Returns:
        ``NodeEndpoints``: the brokers these leaders are on, each once.
    """
    image = context.services.image
    nodes: dict[int, Node] = {}
    for name, topic_id, index, code, leader in answered:
        known = image.partition(name or image.names.get(topic_id, ""), index) if code in _ASKED_THE_WRONG_BROKER else None
        if known is None:
            continue
        leader.leader_id, leader.leader_epoch = known.leader, known.leader_epoch
        broker = image.leader(known)
        endpoint = None if broker is None else broker.endpoints.get(context.listener)
        if broker is not None and endpoint is not None:
            nodes[broker.broker_id] = node(
                node_id=broker.broker_id, host=endpoint.host, port=endpoint.port, rack=broker.rack
            )
    return list(nodes.values())
