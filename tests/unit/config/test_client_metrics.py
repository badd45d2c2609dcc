"""Configs of a subscription to clients' metrics."""

from __future__ import annotations

import pytest

from kafkax.config import BrokerConfig, ClientMetricsConfig, ConfigError
from kafkax.errors import ErrorCode

BROKER = BrokerConfig({"listeners": "PLAINTEXT://127.0.0.1:9092", "log.dirs": "/nowhere"})


def test_selectors_are_regular_expressions() -> None:
    config = ClientMetricsConfig({"match": "client_id=app.*, client_software_name=x", "metrics": "a.,b."}, BROKER)
    selectors = config.selectors()
    assert selectors["client_id"].fullmatch("app-7")
    assert not selectors["client_software_name"].fullmatch("xy")
    assert config["metrics"] == ("a.", "b.")
    assert config["interval.ms"] == 300_000


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"interval.ms": "99"}, ErrorCode.INVALID_REQUEST),
        ({"interval.ms": "3600001"}, ErrorCode.INVALID_REQUEST),
        ({"interval.ms": "soon"}, ErrorCode.INVALID_CONFIG),
        ({"match": "colour=red"}, ErrorCode.INVALID_CONFIG),
        ({"match": "client_id=["}, ErrorCode.INVALID_CONFIG),
        ({"no.such": "1"}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_means_nothing_is_refused(settings: dict[str, str], code: ErrorCode) -> None:
    with pytest.raises(ConfigError) as refusal:
        ClientMetricsConfig(settings, BROKER)
    assert refusal.value.code is code
