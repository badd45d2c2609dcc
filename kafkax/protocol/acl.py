"""What access control is about, numbered as on the wire (KIP-11, KIP-140)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["AclOperation"]


class AclOperation(IntEnum):
    """What an access control entry allows or denies; ``ANY`` in filters only. In bit fields the number is the bit (KIP-430)."""

    UNKNOWN = 0
    ANY = 1
    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15
