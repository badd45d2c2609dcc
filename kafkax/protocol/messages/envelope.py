"""A broker forwards a client's request to the controller, with the client's principal (KIP-590)."""

from __future__ import annotations

from kafkax.protocol.message import Request, Response
from kafkax.protocol.schema import binary, int16


class EnvelopeRequest(Request, key=58, versions="0", flexible="0+"):
    request_data: bytes = binary("0+")
    request_principal: bytes | None = binary("0+", nullable="0+")
    client_host_address: bytes = binary("0+")


class EnvelopeResponse(Response, key=58, versions="0", flexible="0+"):
    response_data: bytes | None = binary("0+", nullable="0+", default=None)
    error_code: int = int16("0+")
