"""SCRAM credentials in the store: keys only, as Kafka keeps them."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from kafkax.cluster.client_quotas import QuotaAdmin
from kafkax.cluster.scram_credentials import Deletion, Mechanism, ScramAdmin, ScramCredential, Upsertion, credential_of
from kafkax.errors import ErrorCode, KafkaError
from tests.sim.rig import Rig

SALTED = hashlib.pbkdf2_hmac("sha256", b"pencil", b"salt", 4096)


@pytest.fixture
async def rig():
    rig = Rig()
    await rig.start(1)
    yield rig
    await rig.stop()


@pytest.fixture
def admin(rig):
    broker = rig.cluster.brokers[1]
    return ScramAdmin(broker.store, broker.cache, broker.configs)


def test_the_keys_are_those_of_rfc_5802() -> None:
    credential = ScramCredential.from_salted_password(Mechanism.SCRAM_SHA_256, b"salt", SALTED, 4096)
    client_key = hmac.new(SALTED, b"Client Key", "sha256").digest()
    assert credential.stored_key == hashlib.sha256(client_key).digest()
    assert ScramCredential.decode(credential.encode()) == credential


async def test_a_credential_is_kept_beside_the_users_quotas_and_never_its_password(rig, admin):
    broker = rig.cluster.brokers[1]
    await QuotaAdmin(broker.store, broker.cache, broker.configs).alter({"user": "alice"}, {"producer_byte_rate": 5.0})
    assert await admin.alter([], [Upsertion("alice", 1, 4096, b"salt", SALTED)]) == {"alice": None}
    assert admin.describe("alice") == [(Mechanism.SCRAM_SHA_256, 4096)]
    stored = rig.zookeeper.tree.get("/config/users/alice")[0]
    assert b"producer_byte_rate" in stored
    assert SALTED.hex().encode() not in stored
    found = credential_of(rig.image(1), "alice", Mechanism.SCRAM_SHA_256)
    assert found is not None
    assert found.salt == b"salt"
    assert admin.users() == ["alice"]
    assert await admin.alter([Deletion("alice", 1)], []) == {"alice": None}
    assert admin.users() == []


@pytest.mark.parametrize(
    ("deletions", "upsertions", "code"),
    [
        ([Deletion("x", 1)], [], ErrorCode.RESOURCE_NOT_FOUND),
        ([Deletion("", 1)], [], ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ([Deletion("x", 9)], [], ErrorCode.UNSUPPORTED_SASL_MECHANISM),
        ([], [Upsertion("x", 1, 4095, b"s", SALTED)], ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ([], [Upsertion("x", 1, 16385, b"s", SALTED)], ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ([], [Upsertion("x", 1, 4096, b"s", b"")], ErrorCode.UNACCEPTABLE_CREDENTIAL),
        ([], [Upsertion("x", 1, 4096, b"s", SALTED)] * 2, ErrorCode.DUPLICATE_RESOURCE),
    ],
)
async def test_what_breaks_the_rules_is_refused(admin, deletions, upsertions, code):
    (error,) = (await admin.alter(deletions, upsertions)).values()
    assert isinstance(error, KafkaError)
    assert error.code is code
