"""The controller through crashes and lost connections, from seeds; with a safeguard taken away a seed must fail.

``KAFKAX_SIM_SEEDS`` runs more seeds; ``pytest tests/sim/test_controller.py -k "seed and 17"`` runs one again.
"""

from __future__ import annotations

import logging
import os
import re
from copy import copy

import pytest

from kafkax.cluster import registration, znodes
from kafkax.cluster.controller import alter_partition, tenure
from kafkax.cluster.controller.controller import Controller
from kafkax.cluster.controller.election import elect_live
from kafkax.cluster.controller.ledger import Ledger
from kafkax.cluster.controller.tenure import Tenure
from kafkax.cluster.fence import ControllerFence
from kafkax.cluster.store import Check, Create, MultiError, SetData
from kafkax.cluster.znodes import CONTROLLER_EPOCH
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.stop_replica import StopReplicaRequest
from tests.sim.broker import SimBroker
from tests.sim.controller_simulation import Simulation
from tests.sim.loop import run

SEEDS = int(os.environ.get("KAFKAX_SIM_SEEDS", "200"))
_HUNT = 60
"""Seeds within which a planted defect must show."""


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


def simulate(seed):
    simulation = Simulation(seed)
    try:
        run(simulation.run())
    except BaseException as error:
        error.args = (f"seed {seed}: {error}\n" + "\n".join(simulation.history),)
        raise


@pytest.mark.parametrize("seed", range(SEEDS))
def test_seed(seed):
    simulate(seed)


def assert_found(what="", seeds=_HUNT):
    """Some seed must find what is wrong, and say ``what``, a regular expression."""
    for seed in range(seeds):
        try:
            simulate(seed)
        except (AssertionError, RuntimeError, KafkaError) as error:
            if re.search(what, str(error)):
                return
    pytest.fail(f"no seed below {seeds} found the defect")


_admit = ControllerFence.admit


def _but(message, **fields):
    """A copy of a message with other fields."""
    changed = copy(message)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def test_the_same_seed_is_the_same_run():
    first, second = Simulation(7), Simulation(7)
    run(first.run())
    run(second.run())
    assert first.history == second.history
    assert first.zookeeper.tree.zxid == second.zookeeper.tree.zxid


def test_writes_that_are_not_fenced_are_found(monkeypatch):
    monkeypatch.setattr(Ledger, "_fence", lambda self: Check(CONTROLLER_EPOCH))
    # Without the fence only the session would stop a replaced controller, so it must not be asked either.
    monkeypatch.setattr(Controller, "_resign", lambda self: None)
    assert_found()


def test_an_election_from_outside_the_isr_is_found(monkeypatch):
    def careless(assignment, isr, alive, *, unclean=False):
        return elect_live(assignment, isr, alive, unclean=True)

    monkeypatch.setattr(tenure, "elect_live", careless)
    assert_found()


def test_a_controller_that_forgets_the_last_in_sync_is_found(monkeypatch):
    monkeypatch.setattr(
        tenure, "shrink", lambda state, gone, epoch: state._replace(isr=tuple(m for m in state.isr if m not in gone))
    )
    assert_found()


def test_a_controller_that_forgets_to_go_on_with_what_waits_is_found(monkeypatch):
    async def nothing(self):
        return None

    monkeypatch.setattr(Controller, "_advance", nothing)
    assert_found()


def test_a_controller_that_does_not_tell_new_brokers_is_found(monkeypatch):
    async def nothing(self, brokers):
        return None

    monkeypatch.setattr(Tenure, "_brokers_started", nothing)
    assert_found()


def test_obeying_a_replaced_controller_is_found(monkeypatch):
    monkeypatch.setattr(ControllerFence, "admit", lambda self, controller, broker, present: _admit(self, 1, broker, present))
    assert_found("obeyed controller")


def test_obeying_what_was_meant_for_a_former_life_is_found(monkeypatch):
    monkeypatch.setattr(ControllerFence, "admit", lambda self, controller, _, present: _admit(self, controller, -1, present))
    assert_found("meant for its life")


def test_stopping_replicas_for_a_former_life_is_found(monkeypatch):
    handle = SimBroker.handle

    def obey(self, request):
        if isinstance(request, StopReplicaRequest):
            return handle(self, _but(request, broker_epoch=-1))
        return handle(self, request)

    monkeypatch.setattr(SimBroker, "handle", obey)
    assert_found("meant for its life.*StopReplica", seeds=3 * _HUNT)


def test_isr_changes_that_are_not_compared_with_the_present_state_are_found(monkeypatch):
    decide = alter_partition._decide

    def careless(context, partition, leadership, data, _):
        present = _but(data, leader_epoch=leadership.state.leader_epoch, partition_epoch=leadership.version)
        return decide(context, partition, leadership, present, data.new_isr_with_epochs[0].broker_id)

    monkeypatch.setattr(alter_partition, "_decide", careless)
    assert_found()


def test_taking_ones_former_registration_for_anothers_is_found(monkeypatch):
    async def careless(store, registration):
        path, data = znodes.broker_id_path(registration.broker_id), registration.encode()
        try:
            return (await store.multi([Create(path, data, ephemeral=True), SetData(path, data, 0)]))[-1].czxid
        except MultiError:
            raise KafkaError(ErrorCode.DUPLICATE_BROKER_REGISTRATION) from None

    monkeypatch.setattr(registration, "register_broker", careless)
    assert_found()


def test_a_broker_that_is_not_registered_again_after_a_lost_session_is_found(monkeypatch):
    monkeypatch.setattr(registration.Membership, "_session_changed", lambda self, state: None)
    assert_found()


def test_taking_an_office_whose_answer_was_lost_for_held_is_found(monkeypatch):
    elect = Controller._elect

    async def careless(self):
        # whoever finds its own registration takes itself for the controller already
        found = await self._store.find(znodes.CONTROLLER)
        if found is None or found[1].ephemeral_owner != self._store.session_id:
            await elect(self)

    monkeypatch.setattr(Controller, "_elect", careless)
    assert_found()


def test_a_controller_that_goes_on_after_its_session_is_found(monkeypatch):
    monkeypatch.setattr(Controller, "_resign", lambda self: None)
    assert_found()
