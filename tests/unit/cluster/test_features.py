"""Feature levels: finalized for the whole cluster, all or none."""

from __future__ import annotations

import pytest

from kafkax.cluster.features import GROUP_VERSION, Features, FeatureUpdate
from kafkax.errors import ErrorCode, KafkaError
from tests.sim.rig import Rig


@pytest.fixture
async def rig():
    rig = Rig()
    await rig.start(1, 2)
    yield rig
    await rig.stop()


@pytest.fixture
async def features(rig):
    features = Features(rig.cluster.brokers[1].store)
    await features.start()
    yield features
    features.close()


async def test_a_level_is_changed_for_every_broker(rig, features):
    other = Features(rig.cluster.brokers[2].store)
    await other.start()
    epoch = features.epoch
    await features.update([FeatureUpdate(GROUP_VERSION, 0, 2)])
    await rig.settled()
    assert features.finalized()[GROUP_VERSION] == other.finalized()[GROUP_VERSION] == 0
    assert features.epoch == other.epoch > epoch
    other.close()


@pytest.mark.parametrize(
    "update",
    [
        FeatureUpdate("no.such", 1, 1),
        FeatureUpdate(GROUP_VERSION, 9, 1),
        FeatureUpdate(GROUP_VERSION, 0, 1),
        FeatureUpdate(GROUP_VERSION, 1, 9),
    ],
)
async def test_one_change_that_is_refused_is_a_refusal_of_all(features, update):
    with pytest.raises(KafkaError) as refusal:
        await features.update([FeatureUpdate(GROUP_VERSION, 0, 2), update])
    assert refusal.value.code is ErrorCode.INVALID_UPDATE_VERSION
    assert features.finalized()[GROUP_VERSION] == 1


async def test_validating_changes_nothing(features):
    await features.update([FeatureUpdate(GROUP_VERSION, 0, 2)], validate_only=True)
    assert features.finalized()[GROUP_VERSION] == 1
