"""DescribeTransactions (key 65): the state of transactions by transactional id, of which there are none here (KIP-664).

Versions: 0 is the only one.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.describe_transactions import (
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    TransactionState,
)

SPEC = Spec(key=65, min_version=0, max_version=0)


def handle(context: RequestContext, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse:
    """No transactional id is known."""
    return DescribeTransactionsResponse(
        transaction_states=[
            TransactionState(
                transactional_id=name,
                error_code=ErrorCode.TRANSACTIONAL_ID_NOT_FOUND if name else ErrorCode.INVALID_REQUEST,
            )
            for name in request.transactional_ids
        ]
    )
