"""TLS and SASL of a client's connections, from its configs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import ssl
from typing import TYPE_CHECKING

from kafkax.client.configs import ClientConfig
from kafkax.config import ConfigError
from kafkax.errors import ErrorCode, KafkaError, error_code
from kafkax.protocol.messages.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from kafkax.protocol.messages.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse

if TYPE_CHECKING:
    from kafkax.client.connection import Connection

__all__ = ["authenticate", "check_security", "tls_context"]

_LEAST_ITERATIONS = 4096
_MOST_ITERATIONS = 1_000_000


def tls_context(config: ClientConfig) -> ssl.SSLContext | None:
    """The TLS settings of the client; None when connections are plain.

    Raises:
        ConfigError: a file can't be read, or is not what it should be.
    """
    if "SSL" not in config["security.protocol"]:
        return None
    try:
        context = ssl.create_default_context(cafile=config["ssl.ca.location"], cadata=config["ssl.ca.pem"])
        if config["ssl.certificate.location"]:
            key, password = config["ssl.key.location"], config["ssl.key.password"]
            context.load_cert_chain(config["ssl.certificate.location"], key, password)
    except OSError as error:
        raise ConfigError(f"ssl.*.location: {error.filename or 'a certificate or key'}: {error}") from error
    context.check_hostname = config["ssl.endpoint.identification.algorithm"] == "https"
    if not config["enable.ssl.certificate.verification"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def check_security(config: ClientConfig) -> None:
    """Refuse SASL without what its mechanism needs.

    Raises:
        ConfigError: names what is missing.
    """
    if not config["security.protocol"].startswith("SASL"):
        return
    mechanism = config["sasl.mechanism"]
    needed = ("oauth_cb",) if mechanism == "OAUTHBEARER" else ("sasl.username", "sasl.password")
    for name in needed:
        if config[name] is None:
            raise ConfigError(f"{name} is not set; sasl.mechanism={mechanism} needs it")


async def authenticate(connection: Connection, config: ClientConfig, timeout: float) -> None:
    """Authenticate a connection by SASL, if the client is to.

    Raises:
        KafkaError: SASL_AUTHENTICATION_FAILED, UNSUPPORTED_SASL_MECHANISM, or of the network.
    """
    if not config["security.protocol"].startswith("SASL"):
        return
    mechanism = config["sasl.mechanism"]
    answer = await connection.request(SaslHandshakeRequest(mechanism=mechanism), SaslHandshakeResponse, timeout)
    if answer.error_code:
        raise KafkaError(
            error_code(answer.error_code),
            f"{connection.address} refuses sasl.mechanism={mechanism}; it allows {', '.join(answer.mechanisms) or 'none'}",
        )
    if mechanism == "PLAIN":
        user, password = config.credentials
        await _exchange(connection, f"\0{user}\0{password}".encode(), timeout)
    elif mechanism == "OAUTHBEARER":
        token = config["oauth_cb"]("")
        text = token[0] if isinstance(token, tuple) else token
        await _exchange(connection, b"n,,\x01auth=Bearer " + text.encode() + b"\x01\x01", timeout)
    else:
        await _scram(connection, config, "sha256" if mechanism.endswith("256") else "sha512", timeout)


async def _exchange(connection: Connection, data: bytes, timeout: float) -> bytes:
    answer = await connection.request(SaslAuthenticateRequest(auth_bytes=data), SaslAuthenticateResponse, timeout)
    if answer.error_code:
        raise KafkaError(
            error_code(answer.error_code),
            f"{connection.address}: {answer.error_message or error_code(answer.error_code).message}",
        )
    return answer.auth_bytes


async def _scram(connection: Connection, config: ClientConfig, algorithm: str, timeout: float) -> None:
    """SCRAM (RFC 5802): proves that both sides know the password without sending it."""
    name, password = config.credentials
    user = name.replace("=", "=3D").replace(",", "=2C")
    nonce = base64.b64encode(os.urandom(24)).decode()
    first = f"n={user},r={nonce}"
    challenge = (await _exchange(connection, f"n,,{first}".encode(), timeout)).decode()
    fields = _fields(challenge)
    salt, iterations = base64.b64decode(fields.get("s", "")), int(fields.get("i", "0"))
    if not fields.get("r", "").startswith(nonce) or fields.get("r") == nonce:
        raise _failed(connection, "its SCRAM nonce does not go on from ours")
    if not _LEAST_ITERATIONS <= iterations <= _MOST_ITERATIONS:
        raise _failed(connection, f"{iterations} SCRAM iterations; {_LEAST_ITERATIONS} to {_MOST_ITERATIONS} are accepted")
    salted = hashlib.pbkdf2_hmac(algorithm, password.encode(), salt, iterations)
    final = f"c=biws,r={fields['r']}"
    signed = f"{first},{challenge},{final}".encode()
    client_key = hmac.digest(salted, b"Client Key", algorithm)
    signature = hmac.digest(hashlib.new(algorithm, client_key).digest(), signed, algorithm)
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    answer = _fields((await _exchange(connection, f"{final},p={base64.b64encode(proof).decode()}".encode(), timeout)).decode())
    expected = hmac.digest(hmac.digest(salted, b"Server Key", algorithm), signed, algorithm)
    if not hmac.compare_digest(base64.b64decode(answer.get("v", "")), expected):
        raise _failed(connection, answer.get("e") or "it does not know the password")


def _fields(text: str) -> dict[str, str]:
    return {part[0]: part[2:] for part in text.split(",") if part[1:2] == "="}


def _failed(connection: Connection, why: str) -> KafkaError:
    return KafkaError(ErrorCode.SASL_AUTHENTICATION_FAILED, f"{connection.address}: {why}")
