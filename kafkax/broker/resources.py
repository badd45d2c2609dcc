"""What configs, ACLs and quotas are about: the resource types of the protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from typing import NoReturn, Protocol, TypeVar

from kafkax.errors import ErrorCode, KafkaError

__all__ = ["ResourceType", "alter_each", "check_broker_resource", "refuse_unserved"]


class _Resource(Protocol):
    resource_type: int
    resource_name: str


class _Answer(Protocol):
    error_code: int
    error_message: str | None


R = TypeVar("R", bound=_Resource)
A = TypeVar("A", bound=_Answer)


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


async def alter_each(resources: Sequence[R], response: Callable[..., A], alter: Callable[[R], Awaitable[None]]) -> list[A]:
    """Alter each resource by itself, so that one that is refused leaves the others as they are; one that stands twice is refused.

    Args:
        resources: what a request names.
        response: makes the answer about one resource.
        alter: does it; raises KafkaError.

    Returns:
        An answer for each, in order, with the error of those that were refused.
    """
    named = Counter((resource.resource_type, resource.resource_name) for resource in resources)
    answers = []
    for resource in resources:
        kind, name = resource.resource_type, resource.resource_name
        answer = response(error_message=None, resource_type=kind, resource_name=name)
        try:
            if named[kind, name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"resource {name!r} of type {kind} stands twice in the request")
            await alter(resource)
        except KafkaError as error:
            answer.error_code, answer.error_message = error.code, str(error)
        answers.append(answer)
    return answers


def refuse_unserved(resource_type: int) -> NoReturn:
    """Refuse a type of resource that has no configs here.

    Raises:
        KafkaError: INVALID_REQUEST.
    """
    raise KafkaError(ErrorCode.INVALID_REQUEST, f"configs of resource type {resource_type} are not served")
