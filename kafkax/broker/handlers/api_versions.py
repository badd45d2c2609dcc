"""ApiVersions (key 18): which APIs and versions this broker serves.

Versions: 1 adds the throttle time; 3 is flexible, carries the client's name and the feature levels (KIP-511, KIP-584);
4 may name features whose lowest level is 0.  The response header stays at version 0 for all of them.  A request in a newer
version than 4 is answered in version 0 with UNSUPPORTED_VERSION (KIP-511), so that the client can ask again.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from kafkax.broker.handlers.spec import RequestContext, Spec
from kafkax.cluster.features import SUPPORTED
from kafkax.errors import ErrorCode
from kafkax.protocol.messages.api_versions import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
    FinalizedFeatureKey,
    SupportedFeatureKey,
)

if TYPE_CHECKING:
    from kafkax.broker.services import Services

SPEC = Spec(key=18, min_version=0, max_version=4, before_authentication=True)

_ZERO_LEVELS_SINCE = 4
"""Older clients take a feature whose lowest level is 0 for a mistake."""
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?\Z")


def handle(context: RequestContext, request: ApiVersionsRequest) -> ApiVersionsResponse | bytes:
    """Answer with the served range of every registered API and the features; remember who asks."""
    if context.version >= 3 and not (
        _SOFTWARE.match(request.client_software_name) and _SOFTWARE.match(request.client_software_version)
    ):
        return ApiVersionsResponse(error_code=ErrorCode.INVALID_REQUEST)
    context.connection.software = (request.client_software_name, request.client_software_version)
    return answer(context.services, context.version)


def answer(services: Services, version: int) -> bytes:
    """The answer in this version, without the response header."""
    features = services.admin.features
    return encoded(version, services.member.clustered, features.epoch, tuple(features.finalized().items()))


@lru_cache(maxsize=16)
def encoded(version: int, clustered: bool, epoch: int, finalized: tuple[tuple[str, int], ...]) -> bytes:
    """The answer in this version, which is the same for everybody as long as no feature's level changes."""
    return ApiVersionsResponse(
        api_keys=served(clustered),
        supported_features=[
            SupportedFeatureKey(name=name, min_version=lowest, max_version=highest)
            for name, (lowest, highest) in SUPPORTED.items()
            if lowest > 0 or version >= _ZERO_LEVELS_SINCE
        ],
        finalized_features_epoch=epoch,
        finalized_features=[
            FinalizedFeatureKey(name=name, min_version_level=level, max_version_level=level)
            for name, level in finalized
            if level > 0
        ],
    ).encode(version)


def unsupported() -> ApiVersionsResponse:
    """The answer, to be encoded as version 0, to a request in a version that this broker does not know."""
    own = ApiVersion(api_key=SPEC.key, min_version=SPEC.min_version, max_version=SPEC.max_version)
    return ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[own])


def served(clustered: bool = False) -> list[ApiVersion]:
    """Every registered API with its range, by ascending key; those between brokers only in a cluster."""
    from kafkax.broker.handlers import handlers

    return [
        ApiVersion(
            api_key=key,
            min_version=spec.min_version if spec.advertise_from is None else spec.advertise_from,
            max_version=spec.max_version,
        )
        for key, (spec, *_) in handlers().items()
        if clustered or not spec.between_brokers
    ]
