"""ListTransactions (key 66): the transactions that this broker coordinates, of which there are none (KIP-664).

Versions: 1 filters by duration (KIP-994); 2 by a pattern of transactional ids (KIP-1152).
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.coordinator.groups.regexes import check_regex
from kafkax.errors import KafkaError
from kafkax.protocol.messages.list_transactions import ListTransactionsRequest, ListTransactionsResponse

SPEC = Spec(key=66, min_version=0, max_version=2)

STATES = frozenset(
    (
        "CompleteAbort",
        "CompleteCommit",
        "Dead",
        "Empty",
        "Ongoing",
        "PrepareAbort",
        "PrepareCommit",
        "PrepareEpochFence",
    )
)
"""What a transaction can be in."""


def handle(context: RequestContext, request: ListTransactionsRequest) -> ListTransactionsResponse:
    """Nothing to list; a filter that means nothing is told."""
    if request.transactional_id_pattern:
        try:
            check_regex(request.transactional_id_pattern)
        except KafkaError as error:
            return ListTransactionsResponse(error_code=error.code)
    return ListTransactionsResponse(unknown_state_filters=[state for state in request.state_filters if state not in STATES])
