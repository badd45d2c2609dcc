"""What only administration needs: quotas, credentials, feature levels, clients' own metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafkax.broker.connection_rates import ConnectionRates
from kafkax.broker.mutation_quotas import MutationQuotas
from kafkax.broker.quotas import Quotas
from kafkax.broker.telemetry import Telemetry
from kafkax.cluster.client_quotas import QuotaAdmin
from kafkax.cluster.features import Features
from kafkax.cluster.scram_credentials import ScramAdmin

if TYPE_CHECKING:
    from kafkax.clock import Clock
    from kafkax.cluster.dynamic_configs import DynamicConfigs
    from kafkax.cluster.image import MetadataCache
    from kafkax.cluster.store import CoordinationStore
    from kafkax.config import BrokerConfig

__all__ = ["Administration"]


class Administration:
    """The parts of a broker that only administration needs.

    Attributes:
        quotas: lists and alters quotas.
        quotas_in_force: who has which, and how much was used.
        connection_rates: how many connections may be made a second.
        mutations: who may create and delete how many partitions.
        scram: lists and alters credentials.
        features: the finalized levels.
        telemetry: clients' metrics.
    """

    def __init__(
        self, store: CoordinationStore, cache: MetadataCache, dynamic: DynamicConfigs, config: BrokerConfig, clock: Clock
    ) -> None:
        self.quotas = QuotaAdmin(store, cache, dynamic)
        self.quotas_in_force = Quotas(clock, config["quota.window.num"], config["quota.window.size.seconds"])
        window = (config["controller.quota.window.num"], config["controller.quota.window.size.seconds"])
        self.connection_rates = ConnectionRates(config, clock)
        self.mutations = MutationQuotas(clock, *window)
        self.scram = ScramAdmin(store, cache, dynamic)
        self.features = Features(store)
        self.telemetry = Telemetry(cache, config, clock)
