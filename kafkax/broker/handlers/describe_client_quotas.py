"""DescribeClientQuotas (key 48): the quotas of the entities that match a filter (KIP-546).

Versions: 1 is flexible.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.cluster.client_quotas import QuotaFilter
from kafkax.errors import KafkaError
from kafkax.protocol.messages.describe_client_quotas import (
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    EntityData,
    EntryData,
    ValueData,
)

SPEC = Spec(key=48, min_version=0, max_version=1)


def handle(context: RequestContext, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse:
    """List what matches; a filter that cannot be understood has one error for all."""
    components = [QuotaFilter(each.entity_type, each.match_type, each.match) for each in request.components]
    try:
        found = context.services.admin.quotas.describe(components, strict=request.strict)
    except KafkaError as error:
        return DescribeClientQuotasResponse(error_code=error.code, error_message=str(error), entries=None)
    return DescribeClientQuotasResponse(
        error_message=None,
        entries=[
            EntryData(
                entity=[EntityData(entity_type=kind, entity_name=name) for kind, name in entity.items()],
                values=[ValueData(key=key, value=value) for key, value in values.items()],
            )
            for entity, values in found
        ],
    )
