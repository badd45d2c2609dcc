"""Paths and JSON are Kafka 3.9's: what Kafka wrote is read, and written again means the same to Kafka."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.cluster import znodes
from kafkax.cluster.znodes import (
    BrokerRegistration,
    ControllerRegistration,
    Endpoint,
    PartitionState,
    ProducerIdBlock,
    ReplicaAssignment,
    TopicAssignment,
    ZnodeFormatError,
)

KAFKA_BROKER = (
    b'{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://127.0.0.1:29191"],'
    b'"jmx_port":-1,"port":29191,"host":"127.0.0.1","version":5,"timestamp":"1795360237018"}'
)
KAFKA_TOPIC = (
    b'{"partitions":{"0":[1,2],"1":[2,1]},"topic_id":"jI6XDITsRlWZ8pdhfsjH_g",'
    b'"adding_replicas":{},"removing_replicas":{},"version":3}'
)


def test_broker_registration_is_kafkas():
    read = BrokerRegistration.decode(1, KAFKA_BROKER)
    assert read == BrokerRegistration(1, (Endpoint("PLAINTEXT", "127.0.0.1", 29191, "PLAINTEXT"),), None, 1795360237018)
    assert json.loads(read.encode()) == json.loads(KAFKA_BROKER)


def test_broker_registration_keeps_listeners_rack_and_ipv6():
    endpoints = (Endpoint("INTERNAL", "::1", 9093, "PLAINTEXT"), Endpoint("EXTERNAL", "kafka.example", 9094, "SASL_SSL"))
    registration = BrokerRegistration(3, endpoints, "rack-b", 17)
    assert BrokerRegistration.decode(3, registration.encode()) == registration
    content = json.loads(registration.encode())
    assert content["endpoints"][0] == "INTERNAL://[::1]:9093"
    assert content["host"] == "::1"


def test_broker_without_plaintext_shows_no_old_style_address():
    content = json.loads(BrokerRegistration(1, (Endpoint("S", "h", 1, "SSL"),)).encode())
    assert (content["host"], content["port"]) == (None, -1)


def test_topic_assignment_is_kafkas():
    read = TopicAssignment.decode("idx", KAFKA_TOPIC)
    assert read.partitions == {0: ReplicaAssignment((1, 2)), 1: ReplicaAssignment((2, 1))}
    assert json.loads(read.encode()) == json.loads(KAFKA_TOPIC)


def test_topic_assignment_keeps_reassignment():
    moving = ReplicaAssignment((3, 1, 2), adding=(3,), removing=(1,))
    assignment = TopicAssignment(uuid.uuid4(), {0: moving, 1: ReplicaAssignment((1,))})
    assert TopicAssignment.decode("t", assignment.encode()) == assignment
    assert moving.reassigning
    assert moving.target == (3, 2)
    assert moving.origin == (1, 2)


def test_topic_without_id_of_an_old_kafka_is_read():
    read = TopicAssignment.decode("t", b'{"version":1,"partitions":{"0":[1]}}')
    assert read == TopicAssignment(None, {0: ReplicaAssignment((1,))})


def test_partition_state_is_kafkas():
    written = PartitionState(1, 4, (1, 2), 7).encode()
    assert json.loads(written) == {"controller_epoch": 7, "leader": 1, "version": 1, "leader_epoch": 4, "isr": [1, 2]}
    assert PartitionState.decode("/p", written) == PartitionState(1, 4, (1, 2), 7)
    recovering = PartitionState(-1, 5, (), 8, recovering=True)
    assert json.loads(recovering.encode())["leader_recovery_state"] == 1
    assert PartitionState.decode("/p", recovering.encode()) == recovering


def test_controller_and_its_epoch():
    content = json.loads(ControllerRegistration(1, 1795360237118).encode())
    assert content == {"version": 2, "brokerid": 1, "timestamp": "1795360237118", "kraftControllerEpoch": -1}
    assert znodes.decode_controller(b'{"version":1,"brokerid":5,"timestamp":"1"}') == 5
    assert znodes.decode_controller_epoch(b"12") == 12
    with pytest.raises(ZnodeFormatError, match="/controller_epoch"):
        znodes.decode_controller_epoch(b"x")


def test_configs_and_their_change_notifications():
    assert znodes.decode_config("/c", b'{"version":1,"config":{"retention.ms":"7200000"}}') == {"retention.ms": "7200000"}
    assert json.loads(znodes.encode_config({"a": "b"})) == {"version": 1, "config": {"a": "b"}}
    assert znodes.decode_config("/c", b"") == {}
    assert json.loads(znodes.encode_config_change("topics", "idx")) == {"version": 2, "entity_path": "topics/idx"}
    assert znodes.decode_config_change("/c", b'{"version":2,"entity_path":"brokers/<default>"}') == ("brokers", "<default>")
    assert znodes.decode_config_change("/c", b'{"version":1,"entity_type":"topics","entity_name":"t"}') == ("topics", "t")


def test_producer_id_block():
    block = ProducerIdBlock(2, 1000, 1999)
    assert json.loads(block.encode()) == {"version": 1, "broker": 2, "block_start": "1000", "block_end": "1999"}
    assert ProducerIdBlock.decode(block.encode()) == block
    assert ProducerIdBlock.decode(b"") is None


def test_admin_requests_and_notifications():
    targets = {("t", 0): (1, 2), ("t", 1): (2, 3)}
    assert znodes.decode_reassignments(znodes.encode_reassignments(targets)) == targets
    assert znodes.decode_partitions("/p", b'{"version":1,"partitions":[{"topic":"t","partition":3}]}') == [("t", 3)]
    assert znodes.decode_log_dir_event("/l", znodes.encode_log_dir_event(4)) == 4


def test_cluster_id_is_kafkas():
    assert znodes.decode_cluster_id(b'{"version":"1","id":"W-UhtWP8Qbym_H25kpX01w"}') == "W-UhtWP8Qbym_H25kpX01w"
    assert znodes.decode_cluster_id(znodes.encode_cluster_id("abc")) == "abc"


@given(st.uuids())
def test_ids_are_22_characters_of_base64(id_):
    text = znodes.encode_id(id_)
    assert len(text) == 22
    assert znodes.decode_id(text) == id_


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"partitions":{"0":"x"}}', b'{"partitions":{"x":[1]}}', b"\xff"])
def test_damaged_nodes_are_named(data):
    with pytest.raises(ZnodeFormatError, match="/brokers/topics/t"):
        TopicAssignment.decode("t", data)
