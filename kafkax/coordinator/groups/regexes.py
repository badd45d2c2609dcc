"""Regular expressions that members subscribe to: RE2's syntax and its promise to take linear time (KIP-848)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from kafkax.errors import ErrorCode, KafkaError

__all__ = ["check_regex", "match_topics"]

_MAX_MEMORY = 8 << 20
"""Most bytes that a compiled expression may take."""


@lru_cache(maxsize=1000)
def _compiled(regex: str) -> Any:
    import re2  # only brokers whose members use regular expressions need it

    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    return re2.compile(regex, options)


def check_regex(regex: str) -> None:
    """Refuse what is no regular expression.

    Raises:
        KafkaError: INVALID_REGULAR_EXPRESSION with what is wrong.
    """
    try:
        _compiled(regex)
    except Exception as error:
        detail = error.args[0] if error.args else ""
        text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)
        raise KafkaError(
            ErrorCode.INVALID_REGULAR_EXPRESSION, f"{regex!r} is no regular expression of RE2: {text}"
        ) from None


def match_topics(regex: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names that the whole expression matches, sorted."""
    matches = _compiled(regex).fullmatch
    return tuple(sorted(name for name in names if matches(name)))
