"""Telling clients that asked the wrong broker who leads a partition now (KIP-951), so that they need not ask for metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar
from uuid import UUID

from kafkax.broker.handlers.spec import RequestContext
from kafkax.errors import ErrorCode

if TYPE_CHECKING:
    from kafkax.broker.services import Services

__all__ = ["tell_leaders"]

_ASKED_THE_WRONG_BROKER = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)

_NOBODY = (-1, -1)

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
    brokers = context.services.image.brokers
    nodes: dict[int, Node] = {}
    for name, topic_id, index, code, leader in answered:
        if code not in _ASKED_THE_WRONG_BROKER:
            continue
        leader.leader_id, leader.leader_epoch = _leader(context.services, name, topic_id, index)
        broker = brokers.get(leader.leader_id)
        endpoint = None if broker is None else broker.endpoints.get(context.listener)
        if broker is not None and endpoint is not None:
            nodes[broker.broker_id] = node(
                node_id=broker.broker_id, host=endpoint.host, port=endpoint.port, rack=broker.rack
            )
    return list(nodes.values())


def _leader(services: Services, name: str, topic_id: UUID, index: int) -> tuple[int, int]:
    """The leader's id and epoch, by whoever knows of the later one: the image, or the replica here, which hears of it first."""
    image = services.image
    known = image.partition(name or image.names.get(topic_id, ""), index)
    here = services.registry.get(name, index) if name else services.registry.get_by_id(topic_id, index)
    told = _NOBODY if known is None else (known.leader, known.leader_epoch)
    at_hand = _NOBODY if here is None else here.leadership
    return at_hand if at_hand[1] > told[1] else told
