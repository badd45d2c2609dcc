"""How fast connections are let in: by the broker's rate, their listener's and their address's (KIP-612)."""

from __future__ import annotations

import asyncio

import pytest

from kafkax.broker.connection_rates import ConnectionRates, connections_per_address
from kafkax.cluster.image import MetadataCache
from kafkax.config import BrokerConfig, ConfigError
from tests.sim.virtual import VirtualTime

STATIC = {
    "listeners": "PLAINTEXT://127.0.0.1:9092,INNER://127.0.0.1:9093",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT",
    "inter.broker.listener.name": "INNER",
    "log.dirs": "/nowhere",
    "quota.window.num": "2",
    "quota.window.size.seconds": "1",
}
"""A rate of n a second lets n connections in at once."""


class Client:
    def __init__(self, listener: str, peer: str) -> None:
        self.listener = listener
        self.peer = peer
        self.closed = asyncio.Event()

    def close(self) -> None:
        self.closed.set()


class World:
    def __init__(self, **configs: str) -> None:
        self.time = VirtualTime()
        self.cache = MetadataCache("x")
        self.config = BrokerConfig(STATIC)
        self.rates = ConnectionRates(self.config, self.time)
        self.let_in: list[Client] = []
        self.screened: list[bool] = []
        self.rates.follow(self.cache, self.let_in.append, self.screened.append)  # type: ignore[arg-type]
        self.config.set_dynamic(cluster={key.replace("_", "."): value for key, value in configs.items()})

    def connect(self, listener: str = "PLAINTEXT", host: str = "127.0.0.1") -> Client:
        client = Client(listener, f"{host}:5")
        self.rates.opened(client)  # type: ignore[arg-type]
        return client

    def quota(self, **rates: str) -> None:
        self.cache.set_configs({("ips", name): {"connection_creation_rate": rate} for name, rate in rates.items()})


def test_connections_are_only_screened_while_something_limits_them() -> None:
    world = World()
    assert world.screened == [False]
    world.config.set_dynamic(cluster={"max.connection.creation.rate": "5"})
    world.config.set_dynamic(cluster={"listener.name.inner.max.connection.creation.rate": "5"})
    world.config.set_dynamic(cluster={})
    world.quota(**{"127.0.0.1": "1"})
    assert world.screened == [False, True, True, False, True]


async def test_beyond_the_rate_connections_wait_for_their_turn() -> None:
    world = World(max_connection_creation_rate="2")
    clients = [world.connect() for _ in range(3)]
    assert world.let_in == clients[:2]
    while len(world.let_in) < 3:
        await asyncio.sleep(0.02)
    assert world.let_in == clients


async def test_clients_cannot_take_the_rate_from_brokers() -> None:
    world = World(**{"max.connection.creation.rate": "2", "listener.name.inner.max.connection.creation.rate": "3"})
    for _ in range(5):
        world.connect()
    brokers = [world.connect("INNER") for _ in range(3)]
    assert world.let_in[2:] == brokers


async def test_beyond_the_rate_of_their_address_they_are_closed_and_do_not_count() -> None:
    world = World()
    world.quota(**{"127.0.0.2": "1", "<default>": "2"})
    clients = [world.connect(host=host) for host in ("127.0.0.2", "127.0.0.2", "127.0.0.3", "[::ffff:127.0.0.3]", "127.0.0.3")]
    assert world.let_in == [clients[0], clients[2], clients[3]]
    for refused in (clients[1], clients[4]):
        await asyncio.wait_for(refused.closed.wait(), 30)
    world.time.run(2_500)
    assert world.connect(host="127.0.0.2") in world.let_in


async def test_hosts_are_limited_by_their_addresses() -> None:
    world = World()
    world.quota(localhost="1")
    while world.screened[-1] is False:
        await asyncio.sleep(0.01)
    first, _ = world.connect(), world.connect()
    assert world.let_in == [first]


@pytest.mark.parametrize("text", ["x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:-1", ":5", "no such host:1"])
def test_limits_of_addresses_that_do_not_parse(text: str) -> None:
    with pytest.raises(ConfigError, match=r"max\.connections\.per\.ip\.overrides"):
        connections_per_address(_Config(text))  # type: ignore[arg-type]


def test_limits_of_addresses() -> None:
    found = connections_per_address(_Config("127.0.0.1:5, [::1]:6,"))  # type: ignore[arg-type]
    assert {str(address): most for address, most in found.items()} == {"127.0.0.1": 5, "::1": 6}


class _Config:
    def __init__(self, text: str) -> None:
        self._text = text

    def __getitem__(self, name: str) -> str:
        assert name == "max.connections.per.ip.overrides"
        return self._text
