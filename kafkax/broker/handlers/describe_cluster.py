"""DescribeCluster (key 60): the brokers, the controller and the cluster's id (KIP-700).

Versions: 1 adds the endpoint type (KIP-919); 2 fenced brokers, which exist only in Kafka's KRaft mode.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.broker.operations import cluster_operations
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

SPEC = Spec(key=60, min_version=0, max_version=2)

BROKERS = 1


def handle(context: RequestContext, request: DescribeClusterRequest) -> DescribeClusterResponse:
    """List the brokers with the address that belongs to the listener that was asked."""
    if request.endpoint_type != BROKERS:
        return DescribeClusterResponse(
            error_code=ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
            error_message=f"endpoint type {request.endpoint_type} was asked for, but only brokers (1) have endpoints here",
            endpoint_type=request.endpoint_type,
            cluster_id="",
        )
    services = context.services
    response = DescribeClusterResponse(
        cluster_id=services.cluster_id,
        controller_id=services.image.controller_id,
        brokers=[
            DescribeClusterBroker(broker_id=broker.broker_id, host=endpoint.host, port=endpoint.port, rack=broker.rack)
            for broker, endpoint in services.brokers_on(context.listener)
        ],
    )
    if request.include_cluster_authorized_operations:
        response.cluster_authorized_operations = cluster_operations()
    return response
