"""The controller's requests over a real connection."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from uuid import uuid4

import pytest

from kafkax.cluster.controller.channels import Channels
from kafkax.cluster.controller.context import LiveBroker
from kafkax.cluster.controller.network import network_channel
from kafkax.cluster.znodes import BrokerRegistration, Endpoint
from kafkax.net.outbound import BrokerLink, OutboundSettings
from kafkax.protocol.headers import RequestHeader, response_header
from kafkax.protocol.messages.leader_and_isr import (
    LeaderAndIsrPartitionError,
    LeaderAndIsrPartitionState,
    LeaderAndIsrRequest,
    LeaderAndIsrResponse,
    LeaderAndIsrTopicError,
    LeaderAndIsrTopicState,
)

TOPIC_ID = uuid4()
REQUEST = LeaderAndIsrRequest(
    controller_id=1,
    controller_epoch=2,
    broker_epoch=3,
    topic_states=[
        LeaderAndIsrTopicState(
            topic_name="t",
            topic_id=TOPIC_ID,
            partition_states=[LeaderAndIsrPartitionState(leader=1, isr=[1], replicas=[1, 2], adding_replicas=[2])],
        )
    ],
)
RESPONSE = LeaderAndIsrResponse(
    topics=[
        LeaderAndIsrTopicError(topic_id=TOPIC_ID, partition_errors=[LeaderAndIsrPartitionError(partition_index=0, error_code=56)])
    ]
)


async def serve(reader, writer, received, answer):
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    header, body = RequestHeader.parse(await reader.readexactly(size))
    received.append((header.api_key, header.api_version, LeaderAndIsrRequest.decode(body, header.api_version)))
    if answer:
        payload = response_header(header.api_key, header.api_version, header.correlation_id) + RESPONSE.encode(header.api_version)
        writer.write(struct.pack(">i", len(payload)) + payload)
    else:
        writer.close()


@pytest.fixture
async def broker():
    received, answer = [], [True]
    server = await asyncio.start_server(lambda r, w: serve(r, w, received, answer[0]), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield port, received, answer
    server.close()


@pytest.fixture
async def mortal_broker():
    writers = []

    async def answer(reader, writer):
        writers.append(writer)
        await serve(reader, writer, [], True)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)

    def die():
        server.close()
        for writer in writers:
            writer.transport.abort()

    yield server.sockets[0].getsockname()[1], die
    die()


def channel(port):
    endpoints = (Endpoint("CLIENTS", "127.0.0.1", 1, "PLAINTEXT"), Endpoint("BROKERS", "127.0.0.1", port, "PLAINTEXT"))
    settings = OutboundSettings("test", request_timeout_ms=60_000)
    return network_channel(
        BrokerRegistration(2, endpoints), "BROKERS", lambda endpoint: BrokerLink(endpoint.host, endpoint.port, settings)
    )


async def test_a_request_reaches_the_listener_between_brokers_and_is_answered(broker):
    port, received, _ = broker
    way = channel(port)
    assert await way.send(REQUEST) == RESPONSE
    assert received == [(4, 7, REQUEST)]
    await way.close()


async def test_a_connection_that_breaks_is_an_error_of_the_connection(broker):
    port, _, answer = broker
    answer[0] = False
    way = channel(port)
    with pytest.raises(ConnectionError):
        await way.send(REQUEST)
    await way.close()


@pytest.fixture
def deaf_port():
    """A port that is taken and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_a_broker_that_is_down_is_an_error_of_the_connection(deaf_port):
    way = channel(deaf_port)
    with pytest.raises(ConnectionError, match=str(deaf_port)):
        await way.send(REQUEST)
    await way.close()


async def test_a_broker_that_answered_and_where_nobody_listens_any_more_is_refused(mortal_broker):
    port, die = mortal_broker
    answered, refused = asyncio.Event(), asyncio.Event()
    channels = Channels(lambda _: channel(port), lambda *_: answered.set(), lambda _: refused.set())
    channels.update({2: LiveBroker(BrokerRegistration(2, ()), 5)})
    channels.put(2, REQUEST)
    await asyncio.wait_for(answered.wait(), 30)
    assert not refused.is_set()
    die()
    await asyncio.wait_for(refused.wait(), 30)
    await channels.close()


async def test_a_broker_that_never_answered_is_told_of_once_and_not_refused(deaf_port, caplog):
    refused = []
    channels = Channels(lambda _: channel(deaf_port), lambda *_: None, refused.append)
    channels.update({2: LiveBroker(BrokerRegistration(2, ()), 5)})
    channels.put(2, REQUEST)
    while not caplog.records:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    await channels.close()
    assert refused == []
    (told,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "broker 2 cannot be told anything" in told
    assert str(deaf_port) in told
