"""Who leads a partition, and where the brokers are, for answers to clients that asked the wrong one (KIP-951)."""

from array import array
from collections.abc import Iterable
from uuid import UUID

def leadership(leader: int, epoch: int) -> int:
    """A leader's broker id (-1: nobody) and epoch in one number, as :meth:`Leaders.set_topic` takes it."""

class Leaders:
    """What the core tells of leaders; see ``Reactor.tell_leaders``."""

    def set_topic(self, name: str, topic_id: UUID, leaders: array[int], failed: bytes = b"") -> None:
        """Who leads each partition of a topic from now on, in place of what was said of the topic of that name.

        Args:
            leaders: ``array("q")`` of :func:`leadership` by partition index; -1 where there is no such partition.
            failed: as many bytes, 1 where the replica here is out of service; empty where none is.

        Raises:
            ValueError: not as many.
        """

    def forget_topic(self, name: str) -> None:
        """There is no such topic any more."""

    def set_nodes(self, listener: int, nodes: Iterable[tuple[int, str, int, str | None]]) -> None:
        """The brokers that have the listener: id, host, port and rack.

        Args:
            listener: its place in ``Reactor.listeners``.

        Raises:
            ValueError: no such listener.
        """

    def __len__(self) -> int:
        """Topics that are known."""
