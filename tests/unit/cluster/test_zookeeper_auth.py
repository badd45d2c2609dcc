"""Brokers that tell ZooKeeper who they are, and nodes that are theirs alone (``zookeeper.set.acl``)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from uuid import uuid4

import pytest

pytest.importorskip("puresasl")

from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from kafkax.cluster import znodes
from kafkax.cluster.registration import prepare_cluster, register_broker
from kafkax.cluster.store import SetData, StoreError
from kafkax.cluster.znodes import BrokerRegistration, Endpoint
from kafkax.cluster.zookeeper import ZooKeeperStore, zookeeper_settings
from kafkax.config import BrokerConfig, ConfigError
from tests.zookeeper_server import ZooKeeperServer, missing

SECRET = "kafka-secret"
USERS = {"kafka": SECRET, "other": "another-secret"}


@pytest.fixture(scope="module")
def sasl_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    """A server that knows Kafka's user."""
    why = missing()
    if why is not None:
        pytest.skip(why)
    server = ZooKeeperServer(tmp_path_factory.mktemp("zookeeper-sasl"), users=USERS)
    yield server
    server.kill()


def config(connect: str, **auth: str) -> BrokerConfig:
    named = {f"zookeeper.{key.replace('_', '.')}": value for key, value in auth.items()}
    return BrokerConfig({"node.id": "1", "log.dirs": "/nowhere", "zookeeper.connect": connect, **named})


def as_kafka(connect: str, scheme: str = "sasl", **more: str) -> BrokerConfig:
    return config(connect, auth_scheme=scheme, auth_username="kafka", auth_password=SECRET, **more)


@pytest.fixture
def stranger(sasl_server: ZooKeeperServer) -> Iterator[KazooClient]:
    """A client that does not say who it is."""
    client = KazooClient(sasl_server.address)
    client.start()
    yield client
    client.stop()
    client.close()


async def prepare(given: BrokerConfig) -> None:
    """Create what a broker with a user creates."""
    store = await ZooKeeperStore.connect(zookeeper_settings(given))
    try:
        await prepare_cluster(store)
        await store.create("/config/users/alice", b"{}")
        await register_broker(store, BrokerRegistration(1, (Endpoint("PLAINTEXT", "h", 1, "PLAINTEXT"),)))
        await store.multi([SetData("/config/users/alice", b"[]")])
        assert (await store.get("/config/users/alice"))[0] == b"[]"
    finally:
        await store.close()


@pytest.mark.parametrize("scheme", ["sasl", "digest"])
async def test_nodes_are_the_brokers_and_secrets_are_not_read_by_others(sasl_server, stranger, scheme):
    root = f"/{uuid4().hex}"
    await prepare(as_kafka(sasl_server.address + root, scheme, set_acl="true"))
    owner = "kafka" if scheme == "sasl" else "kafka:"
    for path in ("", "/brokers/ids", "/brokers/topics", znodes.CLUSTER_ID, "/config", "/config/topics", "/feature"):
        mine, everybodys = sorted(stranger.get_acls(root + path)[0], key=lambda acl: acl.id.scheme == "world")
        assert (mine.id.scheme, mine.perms) == (scheme, 31)
        assert mine.id.id.startswith(owner)
        assert (everybodys.id.scheme, everybodys.id.id, everybodys.perms) == ("world", "anyone", 1)
        stranger.get(root + path)
        with pytest.raises(NoAuthError):
            stranger.create(f"{root}{path}/intruder")
    for path in ("/config/users", "/config/users/alice", "/config/brokers"):
        with pytest.raises(NoAuthError):
            stranger.get(root + path)
    stranger.create(f"{root}/consumers/everybody")


async def test_nodes_are_everybodys_unless_acls_are_asked_for(sasl_server, stranger):
    root = f"/{uuid4().hex}"
    await prepare(as_kafka(sasl_server.address + root))
    stranger.set(f"{root}/config/users/alice", b"")


async def test_a_broker_that_is_somebody_else_hears_what_it_may_not(sasl_server):
    connect = f"{sasl_server.address}/{uuid4().hex}"
    await prepare(as_kafka(connect, set_acl="true"))
    store = await ZooKeeperStore.connect(zookeeper_settings(config(connect, auth_username="other", auth_password=USERS["other"])))
    try:
        with pytest.raises(StoreError, match=r"Create of /config/topics/t: its ACL .*zookeeper\.auth\.username"):
            await store.create("/config/topics/t", b"")
        with pytest.raises(StoreError, match=r"/config/users/alice: its ACL .*zookeeper\.auth\.username"):
            await store.get("/config/users/alice")
    finally:
        await store.close()


async def test_wrong_credentials_are_told_at_once(sasl_server):
    wrong = config(sasl_server.address, auth_username="kafka", auth_password="guess", connection_timeout_ms="60000")
    with pytest.raises(StoreError, match=r"refused the credentials \(zookeeper\.auth\.username, zookeeper\.auth\.password\)"):
        await asyncio.wait_for(ZooKeeperStore.connect(zookeeper_settings(wrong)), 30)


async def answers(store: ZooKeeperStore) -> bool:
    """Whether there is a session."""
    try:
        await store.get_many(["/"])
    except StoreError:
        return False
    return True


async def test_a_session_comes_back_when_the_credentials_are_good_again(tmp_path, caplog):
    why = missing()
    if why is not None:
        pytest.skip(why)
    server = ZooKeeperServer(tmp_path, users=USERS)
    try:
        timeouts = {"session_timeout_ms": "4000", "connection_timeout_ms": "60000"}
        store = await ZooKeeperStore.connect(zookeeper_settings(as_kafka(server.address, **timeouts)))

        async def until(works):
            while await answers(store) is not works:
                await asyncio.sleep(0.1)

        server.kill()
        server.admit({"kafka": "changed"})
        server.start()
        with caplog.at_level(logging.ERROR):
            while "refused the credentials" not in caplog.text:
                await asyncio.sleep(0.1)
        await until(False)
        server.kill()
        server.admit(USERS)
        server.start()
        await until(True)
        await store.close()
    finally:
        server.kill()


@pytest.mark.parametrize("scheme", ["sasl", "digest"])
async def test_the_password_is_in_no_log(sasl_server, caplog, scheme):
    caplog.set_level(logging.DEBUG)
    settings = zookeeper_settings(as_kafka(sasl_server.address, scheme))
    store = await ZooKeeperStore.connect(settings)
    await store.close()
    assert any(record.name.startswith("kazoo") and record.levelno == logging.DEBUG for record in caplog.records)
    assert SECRET not in caplog.text + repr(settings)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"set_acl": "true"}, r"zookeeper\.set\.acl=true: the broker does not say who it is"),
        ({"auth_username": "kafka"}, r"zookeeper\.auth\.username, zookeeper\.auth\.password: one is set without the other"),
        ({"auth_password": "x"}, r"zookeeper\.auth\.username, zookeeper\.auth\.password: one is set without the other"),
        ({"auth_scheme": "kerberos"}, r"zookeeper\.auth\.scheme"),
    ],
)
def test_half_an_identity_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        zookeeper_settings(config("127.0.0.1:1", **given))


def test_sasl_says_what_it_needs(monkeypatch):
    monkeypatch.setattr("kafkax.cluster.zookeeper.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pure-sasl; install kafkax\[sasl\]"):
        zookeeper_settings(as_kafka("127.0.0.1:1"))
    assert zookeeper_settings(as_kafka("127.0.0.1:1", "digest")).auth


def test_a_certificate_is_an_identity():
    tls = {"ssl_client_enable": "true", "ssl_keystore_location": "/broker.pem"}
    assert zookeeper_settings(config("127.0.0.1:1", set_acl="true", **tls)).acls
