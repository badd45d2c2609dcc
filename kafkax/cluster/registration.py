"""A broker's presence in the cluster: the cluster id, its id znode, and the broker epoch that comes from it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence

from kafkax.cluster import znodes
from kafkax.cluster.store import (
    ConnectionLostError,
    CoordinationStore,
    Create,
    Delete,
    MultiError,
    NodeExistsError,
    NoNodeError,
    Op,
    SessionState,
    SetData,
    Stat,
    StoreError,
)
from kafkax.cluster.znodes import BrokerRegistration
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["Membership", "generate_broker_id", "prepare_cluster", "register_broker", "unregister_broker"]

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.1


async def prepare_cluster(store: CoordinationStore) -> str:
    """Create what must exist before anything else can; returns the cluster id, a new one for a new cluster."""
    await store.ensure_paths(znodes.PERSISTENT_PATHS)
    new = znodes.encode_cluster_id(znodes.encode_id(uuid.uuid4()))
    for path, data in ((znodes.CLUSTER_ID, new), (znodes.FEATURE, znodes.encode_feature())):
        try:
            await store.create(path, data)
        except NodeExistsError:
            _log.debug("%s exists", path)
    return znodes.decode_cluster_id((await store.get(znodes.CLUSTER_ID))[0])


async def generate_broker_id(store: CoordinationStore, reserved: int) -> int:
    """A broker id that was never generated before, above ``reserved`` (``reserved.broker.max.id``)."""
    stat = await store.set(znodes.BROKER_SEQUENCE, b"")
    return reserved + stat.version


async def register_broker(store: CoordinationStore, registration: BrokerRegistration) -> int:
    """Create the broker's id znode in the present session; returns the broker epoch, its czxid (KIP-380).

    A node of the same addresses that another session left is this broker's former life, whose session has not yet expired
    (KAFKA-1387): since we hold the addresses, nobody else does, so it is replaced.

    Raises:
        KafkaError: DUPLICATE_BROKER_REGISTRATION when another broker has the id.
    """
    path, data = znodes.broker_id_path(registration.broker_id), registration.encode()
    # The result of the second write carries the creating transaction, as in Kafka, without another round trip.
    creation: Sequence[Op] = (Create(path, data, ephemeral=True), SetData(path, data, 0))
    for _ in range(10):
        try:
            return _epoch((await store.multi(creation))[-1])
        except ConnectionLostError:
            _log.warning("%s: the connection broke while it was created; reading it back", path)
        except MultiError as failure:
            if not isinstance(failure.error, NodeExistsError):
                raise failure.error from None
        found = await store.find(path)
        if found is None:
            continue
        held, stat = found
        if stat.ephemeral_owner == store.session_id:
            return stat.czxid
        if BrokerRegistration.decode(registration.broker_id, held).endpoints != registration.endpoints:
            break
        _log.warning("%s is left from session %x; replacing it", path, stat.ephemeral_owner)
        try:
            return _epoch((await store.multi((Delete(path, stat.version), *creation)))[-1])
        except MultiError as failure:
            if not isinstance(failure.error, NoNodeError):
                raise failure.error from None
    raise KafkaError(
        ErrorCode.DUPLICATE_BROKER_REGISTRATION,
        f"broker id {registration.broker_id} is registered by another broker; give this one its own node.id",
    )


def _epoch(result: object) -> int:
    assert isinstance(result, Stat)
    return result.czxid


async def unregister_broker(store: CoordinationStore, broker_id: int) -> None:
    """Remove the broker's id znode if the present session owns it, at the end of an orderly stop."""
    path = znodes.broker_id_path(broker_id)
    stat = await store.exists(path)
    if stat is not None and stat.ephemeral_owner == store.session_id:
        await store.delete(path, stat.version)


class Membership:
    """Keeps the broker registered: once at the start, and anew in every session that follows a lost one.

    Args:
        registration: made anew for each session.
        joined: called with each new broker epoch.
        refused: called when another broker took the id meanwhile; this one has no place in the cluster any more.
    """

    def __init__(
        self,
        store: CoordinationStore,
        registration: Callable[[], BrokerRegistration],
        joined: Callable[[int], None],
        refused: Callable[[KafkaError], None],
    ) -> None:
        self._store = store
        self._registration = registration
        self._joined = joined
        self._refused = refused
        self._path = znodes.broker_id_path(registration().broker_id)
        self._session_id = 0
        self._task: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Register for the first time.  Raises as :func:`register_broker`."""
        await self._register()
        self._store.add_session_listener(self._session_changed)
        await self._store.watch_nodes([self._path], self._node_changed)
        # a controller that was about to remove the registration of this broker's last life may have met this one
        await self._check()

    async def _register(self) -> None:
        session_id = self._store.session_id
        self._joined(await register_broker(self._store, self._registration()))
        self._session_id = session_id

    def _node_changed(self, _: str) -> None:
        # a controller that took this broker for dead removed the registration
        if self._checking is None or self._checking.done():
            self._checking = asyncio.get_running_loop().create_task(self._check())

    async def _check(self) -> None:
        try:
            if await self._store.exists(self._path) is None and self._store.session_id == self._session_id:
                _log.warning("the registration was removed by the controller; registering again")
                self._session_id = 0
                self._session_changed(SessionState.CONNECTED)
        except StoreError as error:
            _log.info("the registration could not be looked at: %s", error)

    def _session_changed(self, state: SessionState) -> None:
        if state is SessionState.CONNECTED and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._register_again())

    async def _register_again(self) -> None:
        while self._store.session_id != self._session_id:
            try:
                await self._register()
            except StoreError as error:
                _log.warning("the broker could not be registered again, trying on: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            except KafkaError as error:
                _log.error("the broker cannot come back: %s", error)
                self._refused(error)
                return

    async def leave(self) -> None:
        """Stop keeping the registration; the session's end removes it."""
        self._store.unwatch([self._path], self._node_changed)
        tasks = [task for task in (self._task, self._checking) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
