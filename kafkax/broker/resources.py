"""What configs, ACLs and quotas are about: the resource types of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NoReturn

from kafkax.errors import ErrorCode, KafkaError

__all__ = ["ResourceType", "check_broker_resource", "refuse_twice", "refuse_unserved"]


class ResourceType(IntEnum):
    """Types of config resources, numbered as on the wire."""

    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


def check_broker_resource(name: str, node_id: int) -> None:
    """Refuse a broker resource that is neither this broker nor the empty name, which stands for all brokers.

    Raises:
        KafkaError: INVALID_REQUEST.
    """
    if name not in ("", str(node_id)):
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"broker {name!r} was asked for, but this is broker {node_id}; send the request to the broker it is about",
        )


def refuse_twice(named: Mapping[tuple[int, str], int], resource_type: int, name: str) -> None:
    """Refuse a resource that a request names more than once.

    Args:
        named: how often each (type, name) stands in the request.

    Raises:
        KafkaError: INVALID_REQUEST.
    """
    if named[resource_type, name] > 1:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"resource {name!r} of type {resource_type} stands twice in the request")


def refuse_unserved(resource_type: int) -> NoReturn:
    """Refuse a type of resource that has no configs here.

    Raises:
        KafkaError: INVALID_REQUEST.
    """
    raise KafkaError(ErrorCode.INVALID_REQUEST, f"configs of resource type {resource_type} are not served")
