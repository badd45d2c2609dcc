"""Choose the SASL mechanism of a connection.

After version 1 the exchange goes on in SaslAuthenticate; after 0 in bare frames.
"""

from __future__ import annotations

from kafkax.protocol.message import Request, Response
from kafkax.protocol.schema import array, int16, string


class SaslHandshakeRequest(Request, key=17, versions="0-1"):
    mechanism: str = string("0+")


class SaslHandshakeResponse(Response, key=17, versions="0-1"):
    error_code: int = int16("0+")
    mechanisms: list[str] = array(string, "0+")
