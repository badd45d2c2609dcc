"""The list of handlers: complete, unique, and within what the codec knows."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

import kafkax.broker.handlers as package
from kafkax.broker.handlers import HANDLERS, handlers
from kafkax.broker.handlers.api_versions import handle, served
from kafkax.broker.handlers.spec import RequestContext
from kafkax.errors import ErrorCode
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse


def test_every_module_of_the_package_is_registered() -> None:
    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__", "spec"}
    assert set(HANDLERS) == modules
    assert len(handlers()) == len(HANDLERS)


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_serves_versions_that_its_messages_have(name: str) -> None:
    spec = import_module(f"kafkax.broker.handlers.{name}").SPEC
    known = API_KEYS[spec.key]
    for message in (known.request_type(), known.response_type()):
        assert message.min_version <= spec.min_version <= spec.max_version <= message.max_version


def test_api_versions_is_derived_from_the_list() -> None:
    assert {entry.api_key for entry in served(clustered=True)} == set(handlers())
    between_brokers = {key for key, handler in handlers().items() if handler.spec.between_brokers}
    assert {entry.api_key for entry in served(clustered=False)} == set(handlers()) - between_brokers


@pytest.mark.parametrize(("name", "valid"), [("my-client", True), ("a.b-9", True), ("", False), ("-a", False), ("a b", False)])
def test_clients_name_their_software_by_the_rules_of_kip_511(name: str, valid: bool) -> None:
    features = SimpleNamespace(epoch=0, finalized=dict)
    services = SimpleNamespace(member=SimpleNamespace(clustered=False), admin=SimpleNamespace(features=features))
    context = RequestContext(services, 3, None, SimpleNamespace())  # type: ignore[arg-type]
    answer = handle(context, ApiVersionsRequest(client_software_name=name, client_software_version="1.0"))
    decoded = ApiVersionsResponse.decode(answer, 3) if isinstance(answer, bytes) else answer
    assert decoded.error_code == (ErrorCode.NONE if valid else ErrorCode.INVALID_REQUEST)
