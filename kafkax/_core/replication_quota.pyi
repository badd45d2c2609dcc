"""Bytes a second for throttled replicas (KIP-73)."""

class ReplicationQuota:
    """A limit on bytes a second, and what was used of it over the latest samples. Thread-safe; its clock is the caller's.

    Args:
        samples: ``replication.quota.window.num``.
        sample_ms: what one of them spans, ``replication.quota.window.size.seconds``.
    """

    def __init__(self, samples: int, sample_ms: int) -> None: ...
    limit: int
    """Bytes a second; 2**63 - 1, which it begins with: none, and nothing is measured."""

    def record(self, size: int, now_ms: int) -> None:
        """Note bytes that went over."""

    def wait_ms(self, now_ms: int) -> int:
        """Milliseconds until the rate is down to the limit; 0 while it is not above."""
