"""The controller through crashes and lost connections, from seeds; with a safeguard taken away a seed must fail.

``KAFKAX_SIM_SEEDS`` runs more seeds; ``pytest tests/sim/test_controller.py -k "seed and 17"`` runs one again.
"""

from __future__ import annotations

import logging
import os

import pytest

from kafkax.cluster.controller import tenure
from kafkax.cluster.controller.controller import Controller
from kafkax.cluster.controller.election import elect_live
from kafkax.cluster.controller.ledger import Ledger
from kafkax.cluster.controller.tenure import Tenure
from kafkax.cluster.store import Check
from kafkax.cluster.znodes import CONTROLLER_EPOCH
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


def assert_found():
    """Some seed must find what is wrong."""
    for seed in range(_HUNT):
        try:
            simulate(seed)
        except (AssertionError, RuntimeError):
            return
    pytest.fail(f"no seed below {_HUNT} found the defect")


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
