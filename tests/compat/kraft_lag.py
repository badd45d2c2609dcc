"""A KRaft controller acknowledges changes that its broker shows a moment later: waiting for that moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.alter_client_quotas import AlterClientQuotasRequest
from kafkax.protocol.messages.alter_user_scram_credentials import AlterUserScramCredentialsRequest
from kafkax.protocol.messages.create_partitions import CreatePartitionsRequest
from kafkax.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from kafkax.protocol.messages.delete_topics import DeleteTopicsRequest
from kafkax.protocol.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from kafkax.protocol.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)

__all__ = ["CHANGES", "wait_until_shown"]

CHANGES = (
    AlterClientQuotasRequest,
    AlterUserScramCredentialsRequest,
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    IncrementalAlterConfigsRequest,
)
"""Requests whose effect shows late."""

_TOPIC = 2
_BARRIER = "shown-in-order"


def wait_until_shown(ask: Callable[[Any, int], Any]) -> None:
    """Make one change more and wait until the broker shows it: it takes changes over in their order.

    Args:
        ask: sends a request in a version, and returns its answer.
    """
    topic = CreatableTopic(name=_BARRIER, num_partitions=1, replication_factor=1)
    created = ErrorCode(ask(CreateTopicsRequest(topics=[topic], timeout_ms=10_000), 5).topics[0].error_code)
    assert created in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS), created.name
    text = str(time.time_ns() // 1_000_000)
    change = AlterableConfig(name="retention.ms", value=text, config_operation=0)
    altered = AlterConfigsResource(resource_type=_TOPIC, resource_name=_BARRIER, configs=[change])
    answer = ask(IncrementalAlterConfigsRequest(resources=[altered]), 1)
    assert answer.responses[0].error_code == 0, answer
    asked = DescribeConfigsResource(resource_type=_TOPIC, resource_name=_BARRIER, configuration_keys=["retention.ms"])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        configs = ask(DescribeConfigsRequest(resources=[asked]), 4).results[0].configs
        if [config.value for config in configs or ()] == [text]:
            return
        time.sleep(0.01)
    raise TimeoutError("the broker does not show what it acknowledged a minute ago")
