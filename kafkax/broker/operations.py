"""Authorized operations as bit fields (KIP-430); without an authorizer everybody may do everything that a resource knows."""

from __future__ import annotations

from collections.abc import Iterable

from kafkax.protocol.acl import AclOperation

__all__ = ["cluster_operations", "group_operations", "topic_operations"]


_OP = AclOperation
_CLUSTER = (
    _OP.CREATE,
    _OP.CLUSTER_ACTION,
    _OP.DESCRIBE_CONFIGS,
    _OP.ALTER_CONFIGS,
    _OP.IDEMPOTENT_WRITE,
    _OP.ALTER,
    _OP.DESCRIBE,
)
_TOPIC = (_OP.READ, _OP.WRITE, _OP.CREATE, _OP.DESCRIBE, _OP.DELETE, _OP.ALTER, _OP.DESCRIBE_CONFIGS, _OP.ALTER_CONFIGS)
_GROUP = (_OP.READ, _OP.DESCRIBE, _OP.DELETE, _OP.DESCRIBE_CONFIGS, _OP.ALTER_CONFIGS)


def _bits(operations: Iterable[AclOperation]) -> int:
    return sum(1 << operation for operation in operations)


def cluster_operations() -> int:
    """Bits of what may be done to the cluster."""
    return _bits(_CLUSTER)


def topic_operations() -> int:
    """Bits of what may be done to a topic."""
    return _bits(_TOPIC)


def group_operations() -> int:
    """Bits of what may be done to a group."""
    return _bits(_GROUP)
