"""The partitions that this broker hosts, by topic name and by topic id."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from kafkax._core.partition import Partition
from kafkax._core.replication_quota import ReplicationQuota

class Registry:
    """Partitions by (topic, index) and by (topic id, index). Core threads look up without the GIL; Python changes it."""

    def __init__(self, *, elsewhere: bool = False, quota: ReplicationQuota | None = None) -> None:
        """``elsewhere``: what is not here may be on another broker, so that only the control plane knows what to say of it.

        ``quota``: what followers may fetch of throttled partitions, see ``Partition.set_replicas``.
        """

    def add(self, partition: Partition) -> None:
        """Make the partition known. Raises ValueError when one of that name is there already."""

    def get(self, topic: str, index: int) -> Partition | None: ...
    def get_by_id(self, topic_id: UUID, index: int) -> Partition | None: ...
    def remove(self, topic: str, index: int) -> Partition | None:
        """Forget the partition and wake who waits on it; whoever holds it sees NOT_LEADER_OR_FOLLOWER from here on."""

    def remove_all(self, partitions: Iterable[tuple[str, int]]) -> None:
        """The same for several, all of which are forgotten before anybody is woken."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Partition]: ...
