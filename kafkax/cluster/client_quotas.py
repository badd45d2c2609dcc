"""Client quotas as they are kept: below ``/config/users``, ``/config/clients`` and ``/config/ips`` (KIP-13, 257, 546, 599).

A quota belongs to an entity: a user, a client id, both together, or an address, where each name may also be the default,
which holds for whoever has no quota of his own.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from kafkax.cluster import znodes
from kafkax.cluster.dynamic_configs import DynamicConfigs, write_config
from kafkax.cluster.image import MetadataCache, MetadataImage
from kafkax.cluster.store import BadVersionError, CoordinationStore, NodeExistsError, NoNodeError
from kafkax.cluster.znodes import ENTITY_DEFAULT
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["CLIENT_ID", "IP", "USER", "MatchType", "QuotaAdmin", "QuotaEntity", "QuotaFilter", "client_quotas"]

_log = logging.getLogger(__name__)

USER, CLIENT_ID, IP = "user", "client-id", "ip"
QuotaEntity = Mapping[str, "str | None"]
"""Names by entity type (``user``, ``client-id``, ``ip``); None is the default of the type."""

_RATES = {"producer_byte_rate": int, "consumer_byte_rate": int, "request_percentage": float, "controller_mutation_rate": float}
_KEYS: dict[str, dict[str, type]] = {"client": _RATES, IP: {"connection_creation_rate": int}}
_LARGEST_INT32 = (1 << 31) - 1
_LARGEST_INT64 = (1 << 63) - 1


class MatchType(IntEnum):
    """What an entity type must be to be listed, numbered as on the wire."""

    EXACT = 0
    DEFAULT = 1
    SPECIFIED = 2


class QuotaFilter(NamedTuple):
    """One component of a filter: the entity's type, and the name for an exact match."""

    entity_type: str
    match_type: int
    name: str | None


def client_quotas(image: MetadataImage) -> list[tuple[dict[str, str | None], dict[str, float]]]:
    """Every entity with quotas, and its quotas by name."""
    found = []
    for (entity_type, path), config in image.entity_configs.items():
        entity = _entity_of(entity_type, path)
        if entity is None:
            continue
        values = {key: number for key in _keys_of(entity) if (number := _number(config.get(key))) is not None}
        if values:
            found.append((entity, values))
    return found


class QuotaAdmin:
    """Lists and alters quotas.  When a method returns, this broker's image has the change."""

    def __init__(self, store: CoordinationStore, cache: MetadataCache, configs: DynamicConfigs) -> None:
        self._store = store
        self._cache = cache
        self._configs = configs

    def describe(
        self, components: Sequence[QuotaFilter], *, strict: bool
    ) -> list[tuple[dict[str, str | None], dict[str, float]]]:
        """The entities that match every component; ``strict``: and that have no other entity type.

        Raises:
            KafkaError: INVALID_REQUEST, UNSUPPORTED_VERSION for an entity type that is not known.
        """
        exact, specified = _checked_filter(components)
        return [
            (entity, values)
            for entity, values in client_quotas(self._cache.image)
            if all(kind in entity and entity[kind] == name for kind, name in exact.items())
            and all(kind in entity for kind in specified)
            and (not strict or len(entity) == len(components))
        ]

    async def alter(self, entity: QuotaEntity, changes: Mapping[str, float | None], *, validate_only: bool = False) -> None:
        """Set quotas of an entity, and remove those whose value is None.

        Raises:
            KafkaError: INVALID_REQUEST.
        """
        _check_entity(entity)
        await _check_address(entity.get(IP))
        allowed = _keys_of(entity)
        texts: dict[str, str | None] = {}
        for key, value in changes.items():
            if key not in allowed:
                raise _invalid(f"{key!r} is no quota of {'/'.join(entity)}; there are {', '.join(allowed)}")
            texts[key] = None if value is None else _text(key, value, allowed[key])
        if not validate_only:
            await self._write(*_path_of(entity), texts)

    async def _write(self, entity_type: str, name: str, changes: Mapping[str, str | None]) -> None:
        path = znodes.config_path(entity_type, name)
        while True:
            found = await self._store.find(path)
            before = {} if found is None else znodes.decode_config(path, found[0])
            after = {**before, **{key: text for key, text in changes.items() if text is not None}}
            for key in (key for key, text in changes.items() if text is None):
                after.pop(key, None)
            if after == before:
                return
            try:
                await write_config(self._store, entity_type, name, after, None if found is None else found[1])
                break
            except (BadVersionError, NodeExistsError, NoNodeError):
                _log.debug("%s changed while it was to be altered; trying again", path)
        await self._configs.read([(entity_type, name)])


def _check_entity(entity: QuotaEntity) -> None:
    if not entity:
        raise _invalid("the entity is empty; name a user, a client id or an ip")
    for kind, name in entity.items():
        if kind not in (USER, CLIENT_ID, IP):
            raise _invalid(f"entity type {kind!r} is unknown; there are {USER}, {CLIENT_ID} and {IP}")
        if name == "":
            raise _invalid(f"the {kind} is empty; name one, or leave it null for the default")
    if IP in entity and len(entity) > 1:
        raise _invalid("an ip has quotas of its own only; leave the user and the client id out")


async def _check_address(address: str | None) -> None:
    if address is None:
        return
    try:
        await asyncio.get_running_loop().getaddrinfo(address, None)
    except (OSError, UnicodeError):
        raise _invalid(f"{address!r} is neither an address nor a host that resolves") from None


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)


def _keys_of(entity: QuotaEntity) -> dict[str, type]:
    return _KEYS[IP if IP in entity else "client"]


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        _log.error("a quota is ignored: %r is no number", text)
        return None


def _text(key: str, value: float, kind: type) -> str:
    """A quota as Kafka writes it.

    Raises:
        KafkaError: INVALID_REQUEST when it is not allowed.
    """
    if not value > 0:
        raise _invalid(f"{key}: value {value} is refused; it must be greater than 0")
    if kind is float:
        return repr(float(value))
    if math.isinf(value) or value >= (_LARGEST_INT32 if key == "connection_creation_rate" else _LARGEST_INT64):
        raise _invalid(f"{key}: value {value} is refused; it is too large")
    if abs(value - round(value)) > 1e-6:
        raise _invalid(f"{key}: value {value} is refused; it takes a whole number")
    return str(round(value))


def _checked_filter(components: Iterable[QuotaFilter]) -> tuple[dict[str, str | None], set[str]]:
    """Exact names by type, and the types that may have any name."""
    exact: dict[str, str | None] = {}
    specified: set[str] = set()
    for kind, match, name in components:
        if not kind:
            raise _invalid("a component has an empty entity type")
        if kind in exact or kind in specified:
            raise _invalid(f"entity type {kind} stands twice in the filter")
        if kind not in (USER, CLIENT_ID, IP):
            raise KafkaError(
                ErrorCode.UNSUPPORTED_VERSION, f"entity type {kind!r} is unknown; there are {USER}, {CLIENT_ID} and {IP}"
            )
        if match not in list(MatchType):
            raise _invalid(f"match type {match} is unknown; 0 (exact), 1 (default) and 2 (specified) are")
        if (match == MatchType.EXACT) != (name is not None):
            raise _invalid(f"a name belongs to an exact match and to no other; match type {match} came with {name!r}")
        if match == MatchType.SPECIFIED:
            specified.add(kind)
        else:
            exact[kind] = name
    if IP in exact.keys() | specified and len(exact) + len(specified) > 1:
        raise _invalid("an ip has quotas of its own only; leave the user and the client id out of the filter")
    return exact, specified


def _path_of(entity: QuotaEntity) -> tuple[str, str]:
    """Type and name of the entity's znode."""
    names = {kind: ENTITY_DEFAULT if name is None else znodes.sanitized(name) for kind, name in entity.items()}
    if IP in names:
        return "ips", names[IP]
    if USER not in names:
        return "clients", names[CLIENT_ID]
    return "users", names[USER] if CLIENT_ID not in names else znodes.user_client(names[USER], names[CLIENT_ID])


def _entity_of(entity_type: str, path: str) -> dict[str, str | None] | None:
    """The entity of a znode; None for types that have no quotas."""
    if entity_type == "ips":
        return {IP: _name(path)}
    if entity_type == "clients":
        return {CLIENT_ID: _name(path)}
    if entity_type != "users":
        return None
    user, _, client = path.partition("/clients/")
    return {USER: _name(user), **({CLIENT_ID: _name(client)} if client else {})}


def _name(text: str) -> str | None:
    return None if text == ENTITY_DEFAULT else znodes.unsanitized(text)
