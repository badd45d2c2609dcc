"""UpdateFeatures (key 57): finalize levels of features (KIP-584, KIP-778).

Versions: 1 tells how far a downgrade may go, and may only validate; 2 has one error for all, since all change or none.
"""

from __future__ import annotations

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.cluster.features import FeatureUpdate, UpgradeType
from kafkax.errors import KafkaError
from kafkax.protocol.messages.update_features import UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse

SPEC = Spec(key=57, min_version=0, max_version=2)

_ONE_ERROR_SINCE = 2


async def handle(context: RequestContext, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse:
    """Change all levels, or none."""
    updates = [
        FeatureUpdate(
            update.feature,
            update.max_version_level,
            UpgradeType.UNSAFE_DOWNGRADE if update.allow_downgrade else update.upgrade_type,
        )
        for update in request.feature_updates
    ]
    try:
        await context.services.admin.features.update(updates, validate_only=request.validate_only)
    except KafkaError as error:
        return UpdateFeaturesResponse(error_code=error.code, error_message=str(error))
    if not request.validate_only:
        # heartbeats of consumer groups may not be served any more
        context.services.groups.coordinator.standing.revoke_all()
    results = [] if context.version >= _ONE_ERROR_SINCE else [UpdatableFeatureResult(feature=each.name) for each in updates]
    return UpdateFeaturesResponse(error_message=None, results=results)
