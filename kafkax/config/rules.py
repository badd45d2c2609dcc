"""Rules for config values, as the tables write them.

- ``1..``, ``0..1``, ``-1 or 1..9``: bounds of a number, both ends allowed;
- ``none required requested``: the words allowed, of a list each element;
- ``anycase RS256 ES256``: the same, whatever the case;
- ``nonempty``: a string or list with something in it;
- ``only default``: nothing else is offered, since another value would promise what is not there;
- ``release``: a Kafka release such as ``3.9`` or ``3.9-IV0``;
- ``replicas``: ``partition:broker`` pairs, or ``*``.
"""

from __future__ import annotations

import re

__all__ = ["describe_rule", "satisfies"]

_RELEASE = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?(-IV[0-9]+)?\Z")
_REPLICA = re.compile(r"[0-9]+:[0-9]+\Z")


def satisfies(rule: str, value: object, default: object) -> bool:
    """Whether a typed value keeps the rule.

    Args:
        rule: the rule, not empty.
        value: what was parsed; a tuple for a list.
        default: the config's typed default.
    """
    if rule == "only default":
        return value == default
    if rule == "nonempty":
        return bool(value)
    if isinstance(value, (int, float)):
        return any(_within(bounds, value) for bounds in rule.split(" or "))
    elements = value if isinstance(value, tuple) else (value,)
    return all(_allows_element(rule, str(element), elements) for element in elements)


def _within(bounds: str, value: float) -> bool:
    low, dots, high = bounds.partition("..")
    if not dots:
        return value == float(low)
    return (not low or value >= float(low)) and (not high or value <= float(high))


def _allows_element(rule: str, element: str, elements: tuple[object, ...]) -> bool:
    if rule == "release":
        return _RELEASE.match(element) is not None
    if rule == "replicas":
        return _REPLICA.match(element) is not None or elements == ("*",)
    words = rule.split()
    if words[0] == "anycase":
        return element.lower() in (word.lower() for word in words[1:])
    return element in words


def describe_rule(rule: str, default: str | None) -> str:
    """What a rule allows, for an error message."""
    if rule == "only default":
        return f"only {default!r} is offered" if default is not None else "it has to stay unset"
    if rule == "nonempty":
        return "it may not be empty"
    if rule == "release":
        return "a Kafka release such as 3.9 or 3.9-IV0 is allowed"
    if rule == "replicas":
        return "partition:broker pairs parted by commas, or *, are allowed"
    if ".." in rule:
        return "allowed: " + " or ".join(_describe_bounds(bounds) for bounds in rule.split(" or "))
    return "allowed: " + ", ".join(rule.removeprefix("anycase ").split())


def _describe_bounds(bounds: str) -> str:
    low, dots, high = bounds.partition("..")
    if not dots:
        return low
    if low and high:
        return f"{low} to {high}"
    return f"{low} or more" if low else f"{high} or less"
