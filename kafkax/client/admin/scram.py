"""SCRAM credentials of users (KIP-554)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from kafkax.client.admin.topics import outcome
from kafkax.client.admin.types import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialsDescription,
    UserScramCredentialUpsertion,
)
from kafkax.client.cluster import Cluster, check
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
)
from kafkax.protocol.messages.describe_user_scram_credentials import (
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    UserName,
)

__all__ = ["Alteration", "alter_credentials", "describe_credentials"]

Alteration = UserScramCredentialUpsertion | UserScramCredentialDeletion
_SALT_BYTES = 24


async def alter_credentials(cluster: Cluster, alterations: Sequence[Alteration], timeout: float) -> dict[str, Any]:
    """Set and delete credentials; gives None or an error by user. Passwords stay here: what is sent is salted and hashed."""
    request = AlterUserScramCredentialsRequest(
        deletions=[
            ScramCredentialDeletion(name=each.user, mechanism=each.mechanism)
            for each in alterations
            if isinstance(each, UserScramCredentialDeletion)
        ],
        upsertions=[_upsertion(each) for each in alterations if isinstance(each, UserScramCredentialUpsertion)],
    )

    async def attempt() -> dict[str, Any]:
        answer = await cluster.request(request, AlterUserScramCredentialsResponse, await cluster.controller())
        return {each.user: outcome(each.error_code, f"user {each.user}", each.error_message, None) for each in answer.results}

    return await cluster.retry(attempt, cluster.deadline(timeout), "altering SCRAM credentials")


def _upsertion(wanted: UserScramCredentialUpsertion) -> ScramCredentialUpsertion:
    mechanism, iterations = wanted.scram_credential_info
    algorithm = "sha256" if mechanism is ScramMechanism.SCRAM_SHA_256 else "sha512"
    salt = os.urandom(_SALT_BYTES) if wanted.salt is None else wanted.salt
    password = wanted.password.encode() if isinstance(wanted.password, str) else wanted.password
    salted = hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)
    return ScramCredentialUpsertion(
        name=wanted.user, mechanism=mechanism, iterations=iterations, salt=salt, salted_password=salted
    )


async def describe_credentials(cluster: Cluster, users: Sequence[str] | None, timeout: float) -> dict[str, Any]:
    """Mechanisms and iterations, or an error, by user; of all users that have some when None."""
    request = DescribeUserScramCredentialsRequest(users=None if users is None else [UserName(name=each) for each in users])

    async def attempt() -> dict[str, Any]:
        answer = await cluster.request(request, DescribeUserScramCredentialsResponse)
        if answer.error_code != ErrorCode.RESOURCE_NOT_FOUND:
            check(answer.error_code, "SCRAM credentials", answer.error_message)
        return {
            each.user: outcome(
                each.error_code,
                f"user {each.user}",
                each.error_message,
                UserScramCredentialsDescription(
                    each.user,
                    [ScramCredentialInfo(ScramMechanism(one.mechanism), one.iterations) for one in each.credential_infos],
                ),
            )
            for each in answer.results
        }

    return await cluster.retry(attempt, cluster.deadline(timeout), "describing SCRAM credentials")
