"""Client quotas in the store: laid out as Kafka's, validated as Kafka's."""

from __future__ import annotations

import json

import pytest

from kafkax.cluster.client_quotas import QuotaAdmin, QuotaFilter
from kafkax.errors import ErrorCode, KafkaError
from tests.sim.rig import Rig


@pytest.fixture
async def rig():
    rig = Rig()
    await rig.start(1, 2)
    yield rig
    await rig.stop()


@pytest.fixture
def admin(rig):
    broker = rig.cluster.brokers[1]
    return QuotaAdmin(broker.store, broker.cache, broker.configs)


async def test_quotas_stand_where_kafka_looks_for_them_and_reach_every_broker(rig, admin):
    await admin.alter({"user": "a b", "client-id": None}, {"producer_byte_rate": 1024.0, "request_percentage": 12.5})
    await admin.alter({"client-id": "c"}, {"consumer_byte_rate": 5.0})
    found = json.loads(rig.zookeeper.tree.get("/config/users/a%20b/clients/<default>")[0])["config"]
    assert found == {"producer_byte_rate": "1024", "request_percentage": "12.5"}
    await rig.settled()
    assert rig.image(2).entity_config("clients", "c") == {"consumer_byte_rate": "5"}
    assert rig.image(2).entity_config("users", "a%20b/clients/<default>") == found


async def test_what_stands_beside_a_quota_stays(rig, admin):
    await admin.alter({"user": "u"}, {"producer_byte_rate": 1.0, "consumer_byte_rate": 2.0})
    await admin.alter({"user": "u"}, {"producer_byte_rate": None})
    assert admin.describe([], strict=False) == [({"user": "u"}, {"consumer_byte_rate": 2.0})]
    await admin.alter({"user": "u"}, {"consumer_byte_rate": None}, validate_only=True)
    assert admin.describe([QuotaFilter("user", 2, None)], strict=True) != []
    await admin.alter({"user": "u"}, {"consumer_byte_rate": None})
    assert admin.describe([], strict=False) == []


@pytest.mark.parametrize(
    ("entity", "changes"),
    [
        ({}, {"producer_byte_rate": 1.0}),
        ({"group": "g"}, {"producer_byte_rate": 1.0}),
        ({"user": ""}, {"producer_byte_rate": 1.0}),
        ({"user": "a", "ip": "127.0.0.1"}, {"connection_creation_rate": 1.0}),
        ({"ip": "no such host.invalid"}, {"connection_creation_rate": 1.0}),
        ({"user": "a"}, {"connection_creation_rate": 1.0}),
        ({"user": "a"}, {"producer_byte_rate": 0.0}),
        ({"user": "a"}, {"producer_byte_rate": 1.5}),
        ({"user": "a"}, {"producer_byte_rate": 1e30}),
        ({"user": "a"}, {"producer_byte_rate": float("nan")}),
    ],
)
async def test_what_makes_no_sense_is_refused(admin, entity, changes):
    with pytest.raises(KafkaError) as refusal:
        await admin.alter(entity, changes)
    assert refusal.value.code is ErrorCode.INVALID_REQUEST
