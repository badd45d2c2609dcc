"""Answers to ApiVersions that the core gives without the control plane, as long as nobody has to know who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafkax.broker.handlers import api_versions

if TYPE_CHECKING:
    from kafkax._core.reactor import Reactor
    from kafkax.broker.services import Services
    from kafkax.cluster.image import ImageDelta, MetadataImage

__all__ = ["ReadyVersions"]

_NAMES_SOFTWARE_SINCE = 3


class ReadyVersions:
    """Keeps the core's answers those of the handler.

    Subscriptions to client metrics can choose clients by their software, which ApiVersions names: while there is one, the
    versions that name it come to the control plane.

    Args:
        services: what the answers are made of.
        reactor: gives them.
    """

    def __init__(self, services: Services, reactor: Reactor) -> None:
        self._services = services
        self._reactor = reactor
        services.cache.add_listener(self._image_changed)
        services.admin.features.on_change(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Leave the present answers with the core."""
        services = self._services
        wanted = any(entity_type == "client-metrics" for entity_type, _ in services.image.entity_configs)
        for version in range(api_versions.SPEC.min_version, api_versions.SPEC.max_version + 1):
            to_us = wanted and version >= _NAMES_SOFTWARE_SINCE
            self._reactor.set_api_versions(version, None if to_us else api_versions.answer(services, version))

    def _image_changed(self, _: MetadataImage, delta: ImageDelta) -> None:
        if any(entity_type == "client-metrics" for entity_type, _ in delta.configs):
            self.refresh()
