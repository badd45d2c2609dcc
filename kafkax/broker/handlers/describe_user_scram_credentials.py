"""DescribeUserScramCredentials (key 50): users' SCRAM mechanisms and iterations, never keys (KIP-554).

Versions: 0 is the only one.
"""

from __future__ import annotations

from collections import Counter

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.describe_user_scram_credentials import (
    CredentialInfo,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
)

SPEC = Spec(key=50, min_version=0, max_version=0)


def handle(context: RequestContext, request: DescribeUserScramCredentialsRequest) -> DescribeUserScramCredentialsResponse:
    """Describe the users named, everybody when none is."""
    scram = context.services.admin.scram
    named = Counter(user.name for user in request.users or ()) or Counter(scram.users())
    results = []
    for name, count in sorted(named.items()):
        result = DescribeUserScramCredentialsResult(user=name, error_message=None)
        try:
            if count > 1:
                raise KafkaError(ErrorCode.DUPLICATE_RESOURCE, f"user {name!r} stands twice in the request")
            result.credential_infos = [
                CredentialInfo(mechanism=mechanism, iterations=iterations) for mechanism, iterations in scram.describe(name)
            ]
        except KafkaError as error:
            result.error_code, result.error_message = error.code, str(error)
        results.append(result)
    return DescribeUserScramCredentialsResponse(error_message=None, results=results)
