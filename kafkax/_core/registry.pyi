"""The partitions that this broker hosts, by topic name and by topic id."""

from collections.abc import Iterator
from uuid import UUID

from kafkax._core.partition import Partition

class Registry:
    """Partitions by (topic, index) and by (topic id, index). Core threads look up without the GIL; Python changes it."""

    def __init__(self, *, elsewhere: bool = False) -> None:
        """``elsewhere``: what is not here may be on another broker, so that only the control plane knows what to say of it."""

    def add(self, partition: Partition) -> None:
        """Make the partition known. Raises ValueError when one of that name is there already."""

    def get(self, topic: str, index: int) -> Partition | None: ...
    def get_by_id(self, topic_id: UUID, index: int) -> Partition | None: ...
    def remove(self, topic: str, index: int) -> Partition | None:
        """Forget the partition and wake who waits on it; whoever holds it sees NOT_LEADER_OR_FOLLOWER from here on."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Partition]: ...
