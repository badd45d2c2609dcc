"""What the clients share: the I/O thread, the view of the cluster, and how they end."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kafkax.client.cluster import Cluster, sole
from kafkax.client.configs import ClientConfig, client_config
from kafkax.client.loop import IoThread
from kafkax.client.metadata import ClusterMetadata

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BaseClient", "copy_metadata"]


def copy_metadata(cluster: Cluster, topic: str | None) -> ClusterMetadata:
    """A copy of what is known, for the caller to keep; of one topic when it is given."""
    known, copy = cluster.metadata, ClusterMetadata()
    copy.cluster_id, copy.controller_id = known.cluster_id, known.controller_id
    copy.brokers = dict(known.brokers)
    copy.topics = {name: each for name, each in known.topics.items() if topic is None or name == topic}
    return copy


class BaseClient:
    """A client with a thread of its own; ends by :meth:`close` or a ``with`` block.

    Args:
        owner: ``P``, ``C`` or ``A``.
        config: names to values, see :mod:`kafkax.client.configs`.

    Raises:
        ConfigError: a config is not known or not allowed.
    """

    def __init__(self, owner: str, config: Mapping[str, Any]) -> None:
        self._config: ClientConfig = client_config(owner, config)
        self._io = IoThread(f"kafkax-{self._config['client.id']}")
        try:
            self._cluster = Cluster(self._config, self._io)
        except BaseException:
            self._io.close()
            raise
        self._io.call(self._start)

    def _start(self) -> None:
        self._io.spawn(self._cluster.keep_fresh())

    def list_topics(self, topic: str | None = None, timeout: float = 30.0) -> ClusterMetadata:
        """Brokers and topics as the cluster describes them now.

        Args:
            topic: only this one; it is not created when it is missing, but carries its error.
            timeout: seconds.

        Raises:
            KafkaError: no broker answered in time.
        """
        return self._io.run(self._list_topics(topic, timeout), timeout + 1, "list_topics")

    def cluster_id(self, timeout: float = -1) -> str | None:
        """Id of the cluster; None with brokers that have none.

        Args:
            timeout: seconds; negative is request.timeout.ms.

        Raises:
            KafkaError: no broker answered in time.
        """
        if self._cluster.metadata.cluster_id is None:
            limit = self._cluster.timeout if timeout < 0 else timeout
            self._io.run(self._learn_cluster(limit), limit + 1, "cluster_id")
        return self._cluster.metadata.cluster_id

    async def _learn_cluster(self, timeout: float) -> None:
        cluster = self._cluster
        await cluster.retry(lambda: cluster.refresh([]), cluster.deadline(timeout), "metadata")

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Authenticate with these from the next connection on; those that stand are left alone.

        Args:
            username, password: in place of ``sasl.username`` and ``sasl.password``, for PLAIN and SCRAM.

        Raises:
            TypeError: one of them is not a text.
        """
        if not isinstance(username, str) or not isinstance(password, str):
            raise TypeError("username and password are to be texts")
        self._config.credentials = (username, password)

    async def _list_topics(self, topic: str | None, timeout: float) -> ClusterMetadata:
        cluster = self._cluster

        async def attempt() -> None:
            answer = await cluster.refresh(None if topic is None else [topic])
            if topic is not None:
                sole(answer.topics, f"topic {topic}")

        await cluster.retry(attempt, cluster.deadline(timeout), "metadata")
        return copy_metadata(cluster, topic)

    def close(self, timeout: float = 5.0) -> None:
        """End the client's thread and close its connections; a second call does nothing.

        Args:
            timeout: seconds that this may take.
        """
        if not self._io.closed and not self._io.forked:
            self._io.run(self._cluster.close(), timeout, "close")
        self._io.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
