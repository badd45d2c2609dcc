"""AlterClientQuotas (key 49): set and remove quotas of entities (KIP-546).

Versions: 1 is flexible.
"""

from __future__ import annotations

from collections import Counter

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode, KafkaError
from kafkax.protocol.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse,
    AlterClientQuotasResponseEntryData,
    EntityData,
)

SPEC = Spec(key=49, min_version=0, max_version=1)


async def handle(context: RequestContext, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse:
    """Alter each entity by itself; one that stands twice in the request is not altered."""
    named = Counter(frozenset(_entity(entry).items()) for entry in request.entries)
    answers: dict[frozenset[tuple[str, str | None]], AlterClientQuotasResponseEntryData] = {}
    for entry in request.entries:
        entity = _entity(entry)
        answer = AlterClientQuotasResponseEntryData(
            error_message=None, entity=[EntityData(entity_type=kind, entity_name=name) for kind, name in entity.items()]
        )
        key = frozenset(entity.items())
        try:
            changes = {op.key: None if op.remove else op.value for op in entry.ops}
            if named[key] > 1 or len(changes) < len(entry.ops):
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"{dict(entity)}: an entity and a quota may stand once in a request")
            await context.services.admin.quotas.alter(entity, changes, validate_only=request.validate_only)
        except KafkaError as error:
            answer.error_code, answer.error_message = error.code, str(error)
        answers[key] = answer
    return AlterClientQuotasResponse(entries=list(answers.values()))


def _entity(entry: AlterClientQuotasRequestEntryData) -> dict[str, str | None]:
    return {each.entity_type: each.entity_name for each in entry.entity}
