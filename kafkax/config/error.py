"""The error of a config that is not allowed."""

from __future__ import annotations

from kafkax.errors import ErrorCode, KafkaError

__all__ = ["ConfigError"]


class ConfigError(KafkaError):
    """A config key or value that is refused; the message names the key, the value and what is allowed.

    Args:
        message: the whole sentence.
        code: the wire code for answers to clients.
    """

    def __init__(self, message: str, code: ErrorCode = ErrorCode.INVALID_CONFIG) -> None:
        super().__init__(code, message)
