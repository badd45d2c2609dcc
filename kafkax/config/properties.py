"""Java's ``.properties`` files: comments, escapes, continued lines."""

from __future__ import annotations

from collections.abc import Iterator

from kafkax.config.error import ConfigError

__all__ = ["parse_properties", "read_properties"]

_BLANK = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def read_properties(path: str) -> dict[str, str]:
    """Read a file of properties (UTF-8).

    Raises:
        ConfigError: the file cannot be read or breaks the syntax.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; name a readable file of Kafka's broker configs") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; write other characters as \\uXXXX") from error
    return parse_properties(text, path)


def parse_properties(text: str, origin: str = "properties") -> dict[str, str]:
    """Parse properties; of a key that stands twice the last value counts, as in Java.

    Args:
        text: the file's text.
        origin: what to call it in errors.

    Raises:
        ConfigError: an escape is malformed.
    """
    result: dict[str, str] = {}
    for number, line in _logical_lines(text):
        try:
            key, value = _split(line)
            result[_unescape(key)] = _unescape(value)
        except ValueError as error:
            raise ConfigError(f"{origin}, line {number}: {error}") from error
    return result


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without comments and blank ones; continued lines are joined."""
    pending: str | None = None
    start = 0
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        line = raw.lstrip(_BLANK)
        if pending is None:
            if not line or line[0] in "#!":
                continue
            pending, start = "", number
        pending += line
        if _odd_backslashes_at_end(line):
            pending = pending[:-1]
            continue
        yield start, pending
        pending = None
    if pending:
        yield start, pending


def _odd_backslashes_at_end(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _split(line: str) -> tuple[str, str]:
    """Part a line at the first unescaped ``=``, ``:`` or blank."""
    position = 0
    while position < len(line) and line[position] not in "=:" + _BLANK:
        position += 2 if line[position] == "\\" else 1
    key, rest = line[:position], line[position:].lstrip(_BLANK)
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(_BLANK)
    return key, rest


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    parts: list[str] = []
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char != "\\":
            parts.append(char)
            continue
        escaped = text[position : position + 1]
        position += 1
        if escaped == "u":
            digits = text[position : position + 4]
            if len(digits) != 4 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                raise ValueError(f"\\u{digits} is not an escape; it takes four hexadecimal digits")
            parts.append(chr(int(digits, 16)))
            position += 4
        else:
            parts.append(_ESCAPES.get(escaped, escaped))
    return "".join(parts)
