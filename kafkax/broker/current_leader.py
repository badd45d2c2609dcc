"""Telling clients that asked the wrong broker who leads a partition now (KIP-951), so that they need not ask for metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from kafkax.broker.handlers.spec import RequestContext
from kafkax.cluster.image import BrokerImage
from kafkax.errors import ErrorCode

ASKED_THE_WRONG_BROKER = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)


class Leader(Protocol):
    """The field ``CurrentLeader`` of an answer."""

    leader_id: int
    leader_epoch: int


def tell_leaders(context: RequestContext, refused: Iterable[tuple[str, int, Leader]]) -> list[tuple[BrokerImage, str, int]]:
    """Fill in the leaders of partitions, by topic and index; the brokers they are on, with host and port, each once."""
    image = context.services.image
    brokers: dict[int, tuple[BrokerImage, str, int]] = {}
    for topic, index, leader in refused:
        known = image.partition(topic, index)
        if known is None:
            continue
        leader.leader_id, leader.leader_epoch = known.leader, known.leader_epoch
        broker = image.leader(known)
        endpoint = None if broker is None else broker.endpoints.get(context.listener)
        if broker is not None and endpoint is not None:
            brokers[broker.broker_id] = broker, endpoint.host, endpoint.port
    return list(brokers.values())
