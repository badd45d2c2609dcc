"""Users' SCRAM credentials as they are kept: in ``/config/users``, beside the users' quotas (KIP-554, RFC 5802).

What is kept are the keys that a server needs to check a password, never the password nor what it was salted to.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from kafkax.cluster import znodes
from kafkax.cluster.dynamic_configs import DynamicConfigs, write_config
from kafkax.cluster.image import MetadataCache, MetadataImage
from kafkax.cluster.store import BadVersionError, CoordinationStore, NodeExistsError, NoNodeError
from kafkax.errors import ErrorCode, KafkaError

__all__ = ["Deletion", "Mechanism", "ScramAdmin", "ScramCredential", "Upsertion", "credential_of"]

_log = logging.getLogger(__name__)

_MOST_ITERATIONS = 16_384


class Mechanism(IntEnum):
    """SCRAM mechanisms, numbered as on the wire."""

    SCRAM_SHA_256 = 1
    SCRAM_SHA_512 = 2

    @property
    def sasl_name(self) -> str:
        """As SASL names it, and the key in the znode: ``SCRAM-SHA-256``."""
        return self.name.replace("_", "-")

    @property
    def hash_name(self) -> str:
        """As hashlib names the hash."""
        return "sha256" if self is Mechanism.SCRAM_SHA_256 else "sha512"

    @property
    def fewest_iterations(self) -> int:
        """Below this a credential is refused."""
        return 4096


class ScramCredential(NamedTuple):
    """What a server keeps of a password."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int

    @classmethod
    def from_salted_password(cls, mechanism: Mechanism, salt: bytes, salted_password: bytes, iterations: int) -> ScramCredential:
        """The keys behind a salted password."""
        client_key = hmac.new(salted_password, b"Client Key", mechanism.hash_name).digest()
        server_key = hmac.new(salted_password, b"Server Key", mechanism.hash_name).digest()
        return cls(salt, hashlib.new(mechanism.hash_name, client_key).digest(), server_key, iterations)

    def encode(self) -> str:
        """As it stands in the znode."""
        salt, stored, server = (base64.b64encode(each).decode() for each in (self.salt, self.stored_key, self.server_key))
        return f"salt={salt},stored_key={stored},server_key={server},iterations={self.iterations}"

    @classmethod
    def decode(cls, text: str) -> ScramCredential:
        """Read what stands in a znode.

        Raises:
            ValueError: it is no credential.
        """
        parts = dict(part.partition("=")[::2] for part in text.split(","))
        try:
            salt, stored, server = (base64.b64decode(parts[key], validate=True) for key in ("salt", "stored_key", "server_key"))
            return cls(salt, stored, server, int(parts["iterations"]))
        except KeyError as missing:
            raise ValueError(f"the credential has no {missing}") from None


class Deletion(NamedTuple):
    """A credential to delete."""

    user: str
    mechanism: int


class Upsertion(NamedTuple):
    """A credential to add or to replace."""

    user: str
    mechanism: int
    iterations: int
    salt: bytes
    salted_password: bytes


def credential_of(image: MetadataImage, user: str, mechanism: Mechanism) -> ScramCredential | None:
    """A user's credential, None when there is none that can be used."""
    text = image.entity_config("users", znodes.sanitized(user)).get(mechanism.sasl_name)
    if text is None:
        return None
    try:
        return ScramCredential.decode(text)
    except ValueError as error:
        _log.error("a credential of user %s is ignored: %s", user, error)
        return None


class ScramAdmin:
    """Lists and alters credentials.  When a method returns, this broker's image has the change."""

    def __init__(self, store: CoordinationStore, cache: MetadataCache, configs: DynamicConfigs) -> None:
        self._store = store
        self._cache = cache
        self._configs = configs

    def users(self) -> list[str]:
        """Everybody who has a credential, by name."""
        names = {mechanism.sasl_name for mechanism in Mechanism}
        return sorted(
            znodes.unsanitized(name)
            for (entity_type, name), config in self._cache.image.entity_configs.items()
            if entity_type == "users" and names & config.keys()
        )

    def describe(self, user: str) -> list[tuple[Mechanism, int]]:
        """A user's mechanisms and their iterations.

        Raises:
            KafkaError: RESOURCE_NOT_FOUND when the user has none.
        """
        found = [(mechanism, credential_of(self._cache.image, user, mechanism)) for mechanism in Mechanism]
        infos = [(mechanism, credential.iterations) for mechanism, credential in found if credential is not None]
        if not infos:
            raise KafkaError(ErrorCode.RESOURCE_NOT_FOUND, f"user {user!r} has no SCRAM credential")
        return infos

    async def alter(self, deletions: Sequence[Deletion], upsertions: Sequence[Upsertion]) -> dict[str, KafkaError | None]:
        """Delete, add and replace credentials; what became of each user, None for success.  All of a user's or none."""
        outcome: dict[str, KafkaError | None] = {}
        changes: dict[str, tuple[Mechanism, str | None]] = {}
        asked: list[Deletion | Upsertion] = [*deletions, *upsertions]
        for each in asked:
            if outcome.get(each.user) is not None:
                continue
            try:
                change = self._deleted(each) if isinstance(each, Deletion) else _inserted(each)
                if each.user in changes:
                    # Kafka takes a user once in a request, whatever the mechanism
                    raise KafkaError(ErrorCode.DUPLICATE_RESOURCE, f"user {each.user!r} stands more than once in the request")
                changes[each.user], outcome[each.user] = change, None
            except KafkaError as error:
                outcome[each.user] = error
        for user, change in changes.items():
            if outcome[user] is None:
                await self._write(user, *change)
        return dict(sorted(outcome.items()))

    def _deleted(self, deletion: Deletion) -> tuple[Mechanism, None]:
        mechanism = _known(deletion.user, deletion.mechanism)
        if credential_of(self._cache.image, deletion.user, mechanism) is None:
            raise KafkaError(ErrorCode.RESOURCE_NOT_FOUND, f"user {deletion.user!r} has no {mechanism.sasl_name} credential")
        return mechanism, None

    async def _write(self, user: str, mechanism: Mechanism, text: str | None) -> None:
        name = znodes.sanitized(user)
        path = znodes.config_path("users", name)
        while True:
            found = await self._store.find(path)
            after = {} if found is None else znodes.decode_config(path, found[0])
            if text is None:
                after.pop(mechanism.sasl_name, None)
            else:
                after[mechanism.sasl_name] = text
            try:
                await write_config(self._store, "users", name, after, None if found is None else found[1])
                break
            except (BadVersionError, NodeExistsError, NoNodeError):
                _log.debug("%s changed while it was to be altered; trying again", path)
        await self._configs.read([("users", name)])


def _known(user: str, mechanism: int) -> Mechanism:
    if not user:
        raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "the user's name is empty")
    if mechanism not in list(Mechanism):
        raise KafkaError(ErrorCode.UNSUPPORTED_SASL_MECHANISM, f"mechanism {mechanism} is unknown; 1 and 2 are")
    return Mechanism(mechanism)


def _inserted(upsertion: Upsertion) -> tuple[Mechanism, str | None]:
    mechanism = _known(upsertion.user, upsertion.mechanism)
    if not mechanism.fewest_iterations <= upsertion.iterations <= _MOST_ITERATIONS:
        allowed = f"{mechanism.fewest_iterations} to {_MOST_ITERATIONS}"
        raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, f"{upsertion.iterations} iterations are refused; allowed: {allowed}")
    if not upsertion.salted_password:
        raise KafkaError(ErrorCode.UNACCEPTABLE_CREDENTIAL, "the salted password is empty")
    credential = ScramCredential.from_salted_password(
        mechanism, upsertion.salt, upsertion.salted_password, upsertion.iterations
    )
    return mechanism, credential.encode()
