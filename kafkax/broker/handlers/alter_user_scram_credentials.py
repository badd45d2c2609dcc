"""AlterUserScramCredentials (key 51): add, replace and delete SCRAM credentials (KIP-554).

Versions: 0 is the only one.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.cluster.scram_credentials import Deletion, Upsertion
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    AlterUserScramCredentialsResult,
)

SPEC = Spec(key=51, min_version=0, max_version=0)


async def handle(context: RequestContext, request: AlterUserScramCredentialsRequest) -> AlterUserScramCredentialsResponse:
    """Answer each user by itself."""
    outcome = await context.services.admin.scram.alter(
        [Deletion(each.name, each.mechanism) for each in request.deletions],
        [
            Upsertion(each.name, each.mechanism, each.iterations, bytes(each.salt), bytes(each.salted_password))
            for each in request.upsertions
        ],
    )
    return AlterUserScramCredentialsResponse(
        results=[
            AlterUserScramCredentialsResult(
                user=user,
                error_code=ErrorCode.NONE if error is None else error.code,
                error_message=None if error is None else str(error),
            )
            for user, error in outcome.items()
        ]
    )
