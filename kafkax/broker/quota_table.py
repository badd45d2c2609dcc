"""Who has which quota: the most particular of those that hold for a user with a client id (KIP-13, 55, 257)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from kafkax.cluster.client_quotas import CLIENT_ID, USER, client_quotas

if TYPE_CHECKING:
    from kafkax.cluster.image import ImageDelta, MetadataImage

__all__ = ["QuotaTable", "Sharing"]

_TYPES = frozenset({"users", "clients"})

_Key = tuple["str | None", "str | None"]
"""User and client id; an empty string where the entity does not have the type, None for its default."""

Sharing = tuple[str, str]
"""Who shares a quota's measurement: a user, a client id, or both; empty what does not matter."""


class QuotaTable:
    """The quotas of some kinds, as an image has them.  It is true when there are any.

    Args:
        names: of the kinds that are looked for, e.g. ``producer_byte_rate``.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._quotas: dict[_Key, dict[str, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._quotas)

    @staticmethod
    def touched(delta: ImageDelta) -> bool:
        """Whether a change of the image may have changed quotas."""
        return any(entity_type in _TYPES for entity_type, _ in delta.configs)

    def take_over(self, image: MetadataImage) -> bool:
        """Go by this image from now on; whether something changed."""
        before, self._quotas = self._quotas, {}
        for entity, values in client_quotas(image):
            wanted = {key: value for key, value in values.items() if key in self._names}
            if wanted and (USER in entity or CLIENT_ID in entity):
                self._quotas[entity.get(USER, ""), entity.get(CLIENT_ID, "")] = wanted
        return self._quotas != before

    def find(self, name: str, user: str, client_id: str) -> tuple[float, Sharing] | None:
        """The quota that holds for a user with a client id, and who shares it; None when there is none."""
        for entity, sharing in _candidates(user, client_id):
            value = self._quotas.get(entity, {}).get(name)
            if value is not None:
                return value, sharing
        return None


def _candidates(user: str, client_id: str) -> list[tuple[_Key, Sharing]]:
    """Entities whose quota may hold, the most particular one first; and who shares the rate: a user, a client id, or both."""
    both, by_user, by_client = (user, client_id), (user, ""), ("", client_id)
    return [
        ((user, client_id), both),
        ((user, None), both),
        ((user, ""), by_user),
        ((None, client_id), both),
        ((None, None), both),
        ((None, ""), by_user),
        (("", client_id), by_client),
        (("", None), by_client),
    ]
