"""Config values between text and types, by Kafka's rules."""

from __future__ import annotations

import re
from collections.abc import Iterable

from kafkax.config.definition import ConfigType, Definition
from kafkax.config.error import ConfigError
from kafkax.config.rules import describe_rule, satisfies

__all__ = ["Password", "Value", "format_value", "nearest", "parse_value", "unknown_key"]


class Password:
    """A secret: ``value`` holds it, and nothing prints it."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "[hidden]"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Password) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)


Value = bool | int | float | str | tuple[str, ...] | Password | None
"""A typed config value; a list is a tuple."""

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_BITS = {ConfigType.SHORT: 16, ConfigType.INT: 32, ConfigType.LONG: 64}
_TYPE_WORDS = {
    ConfigType.BOOLEAN: "true or false",
    ConfigType.SHORT: "a whole number of 16 bits",
    ConfigType.INT: "a whole number of 32 bits",
    ConfigType.LONG: "a whole number of 64 bits",
    ConfigType.DOUBLE: "a number",
}


def parse_value(definition: Definition, text: str | None) -> Value:
    """Turn text into the typed value of a config, and hold it to the config's rule.

    Args:
        definition: the config.
        text: the text; None where the config has no value.

    Raises:
        ConfigError: the text is not of the type, or the value is not allowed.
    """
    if text is None:
        return None
    try:
        value = _convert(definition.type, text)
    except ValueError:
        raise _refused(definition, text, f"it takes {_TYPE_WORDS[definition.type]}") from None
    rule = definition.allowed
    if not rule:
        return value
    default = None if definition.default_text is None else _convert(definition.type, definition.default_text)
    if not satisfies(rule, value, default):
        raise _refused(definition, text, describe_rule(rule, definition.default_text))
    return value


def _convert(kind: ConfigType, text: str) -> Value:
    if kind is ConfigType.PASSWORD:
        return Password(text)
    text = text.strip()
    if kind is ConfigType.LIST:
        return tuple(part.strip() for part in text.split(",")) if text else ()
    if kind in (ConfigType.STRING, ConfigType.CLASS):
        return text
    if kind is ConfigType.BOOLEAN:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if kind is ConfigType.DOUBLE:
        number = float(text)
        if number != number or "_" in text:
            raise ValueError(text)
        return number
    if _INTEGER.match(text) is None:
        raise ValueError(text)
    return _integer(kind, text)


def _integer(kind: ConfigType, text: str) -> int:
    number = int(text)
    limit = 1 << (_BITS[kind] - 1)
    if not -limit <= number < limit:
        raise ValueError(text)
    return number


def _refused(definition: Definition, text: str, allowed: str) -> ConfigError:
    shown = "[hidden]" if definition.sensitive else repr(text)
    return ConfigError(f"{definition.name}: value {shown} is refused; {allowed}")


def format_value(value: Value) -> str | None:
    """The text of a typed value, as Kafka writes it; a secret has none."""
    if value is None or isinstance(value, Password):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).replace("e+", "E").replace("e", "E")
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The word that was probably meant, or None."""
    import difflib  # only a wrong key needs it

    close = difflib.get_close_matches(word, list(words), n=1, cutoff=0.7)
    return close[0] if close else None


def unknown_key(kind: str, key: str, words: Iterable[str]) -> ConfigError:
    """The error for a key that no table has, with a near miss when there is one."""
    meant = nearest(key, words)
    hint = f"; did you mean {meant}?" if meant else "; the names are those of Apache Kafka"
    return ConfigError(f"{key}: unknown {kind} config{hint}")
