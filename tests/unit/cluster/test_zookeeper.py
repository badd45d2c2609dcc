"""The ZooKeeper store when servers and sessions come and go."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from kazoo.client import KazooClient

from bench.ports import free_port
from kafkax.cluster.registration import prepare_cluster, register_broker
from kafkax.cluster.store import ConnectionLostError, Create, SessionLostError, SessionState, StoreError
from kafkax.cluster.znodes import BrokerRegistration, Endpoint
from kafkax.cluster.zookeeper import ZooKeeperSettings, ZooKeeperStore
from kafkax.cluster.zookeeper_reads import READS_PER_REQUEST

CONNECTED, SUSPENDED, LOST = SessionState.CONNECTED, SessionState.SUSPENDED, SessionState.LOST


pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def settings(server):
    return ZooKeeperSettings(f"{server.address}/{uuid4().hex}", session_timeout_ms=60_000, connection_timeout_ms=150_000)


class Watched:
    """A store whose session states are noted."""

    def __init__(self, store):
        self.store = store
        self.states = []
        self._changed = asyncio.Event()
        store.add_session_listener(self._note)

    def _note(self, state):
        self.states.append(state)
        self._changed.set()

    async def until(self, *states):
        async def seen():
            while self.states != list(states):
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(seen(), 150)
        except asyncio.TimeoutError:
            pytest.fail(f"states were {self.states}")


@pytest.fixture
async def watched(settings):
    store = await ZooKeeperStore.connect(settings)
    yield Watched(store)
    await store.close()


async def expire(store):
    """End a store's session on the server: a second client takes it over and closes it."""

    def take_over():
        client = KazooClient(store._client.hosts[0][0] + f":{store._client.hosts[0][1]}", client_id=store._client.client_id)
        client.start()
        client.stop()
        client.close()

    await asyncio.get_running_loop().run_in_executor(None, take_over)


async def test_the_chroot_is_created_and_hides_the_rest(server, settings):
    store = await ZooKeeperStore.connect(settings)
    await store.create("/a", b"1")
    await store.create("/a/n", sequence=True)
    plain = await ZooKeeperStore.connect(ZooKeeperSettings(server.address))
    chroot = settings.connect.partition("/")[2]
    assert (await plain.get(f"/{chroot}/a"))[0] == b"1"
    assert await store.exists(f"/{chroot}") is None
    await store.close()
    await plain.close()


async def test_a_server_that_does_not_answer_is_named():
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(StoreError, match=nobody):
        await ZooKeeperStore.connect(ZooKeeperSettings(nobody, connection_timeout_ms=300))


async def test_a_restarted_server_suspends_the_session_but_keeps_it(server, watched):
    store = watched.store
    await store.create("/mine", ephemeral=True)
    await store.create("/watched")
    hints = []
    await store.watch_nodes(["/watched"], hints.append)
    session = store.session_id
    server.kill()
    await watched.until(SUSPENDED)
    with pytest.raises(ConnectionLostError):
        await store.get("/mine")
    server.start()
    await watched.until(SUSPENDED, CONNECTED)
    assert store.session_id == session
    assert (await store.exists("/mine")).ephemeral_owner == session
    assert hints == ["/watched"]
    await store.set("/watched", b"again")
    for _ in range(6000):
        if len(hints) > 1:
            break
        await asyncio.sleep(0.01)
    assert len(hints) == 2


async def test_an_expired_session_is_lost_and_followed_by_another(watched):
    store = watched.store
    await store.create("/mine", ephemeral=True)
    session = store.session_id
    await expire(store)
    await watched.until(SUSPENDED, LOST, CONNECTED)
    assert store.session_id != session
    assert await store.exists("/mine") is None
    await store.create("/mine", ephemeral=True)


async def test_requests_under_way_when_the_server_dies_fail(server, watched):
    store = watched.store
    await store.create("/a")
    server.pause()
    under_way = [asyncio.ensure_future(store.set("/a", b"x")) for _ in range(5)]
    await asyncio.sleep(0.05)
    server.kill()
    outcomes = await asyncio.gather(*under_way, return_exceptions=True)
    assert all(isinstance(outcome, ConnectionLostError | SessionLostError) for outcome in outcomes)
    server.start()
    await watched.until(SUSPENDED, CONNECTED)
    await store.set("/a", b"y")


async def test_a_broker_that_restarts_before_its_session_expired_takes_its_id_back(server, settings):
    registration = BrokerRegistration(7, (Endpoint("PLAINTEXT", "127.0.0.1", 9092, "PLAINTEXT"),))
    former = await ZooKeeperStore.connect(settings)
    await prepare_cluster(former)
    first = await register_broker(former, registration)
    store = await ZooKeeperStore.connect(settings)
    second = await register_broker(store, registration)
    assert second > first
    assert (await store.exists("/brokers/ids/7")).ephemeral_owner == store.session_id
    await former.close()
    assert await store.exists("/brokers/ids/7") is not None
    await store.close()


async def test_more_nodes_are_read_at_once_than_one_request_holds(watched):
    store = watched.store
    count = 2 * READS_PER_REQUEST + 1
    await store.multi_all([[Create(f"/n{number}", b"%d" % number)] for number in range(count)])
    await store.create("/n0/child")
    paths = [f"/n{number}" for number in range(count)]
    found = await store.get_many([*paths, "/none", "/"])
    assert [None if one is None else one[0] for one in found] == [*(b"%d" % number for number in range(count)), None, b""]
    assert found[1][1].version == 0
    names = await store.children_many(["/n0", "/none", *paths[1:], "/"])
    assert names[:2] == [["child"], None]
    assert len(names[-1]) == count
