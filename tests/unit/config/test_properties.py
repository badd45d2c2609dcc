"""Properties files read as Java reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkax.config import ConfigError, parse_properties, read_properties


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", {"a": "b"}),
        ("a:b", {"a": "b"}),
        ("a b", {"a": "b"}),
        ("  a \t= b c ", {"a": "b c "}),
        ("a==b", {"a": "=b"}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("# comment\n! another\n\n  # indented\na=b # kept", {"a": "b # kept"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=b\\\n   c", {"a": "bc"}),
        ("a=b\\\\\nc=d", {"a": "b\\", "c": "d"}),
        ("a=b\\\n# no comment here", {"a": "b# no comment here"}),
        ("a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("a\\=b\\:c\\ d=e", {"a=b:c d": "e"}),
        ("a=\\t\\n\\r\\f\\x\\u00e9", {"a": "\t\n\r\fxé"}),
        ("a=b\\", {"a": "b"}),
        ("", {}),
    ],
)
def test_syntax(text: str, expected: dict[str, str]) -> None:
    assert parse_properties(text) == expected


def test_a_bad_escape_is_named_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"server.properties, line 2: \\u12g4"):
        parse_properties("a=b\nc=\\u12g4", "server.properties")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_properties(str(tmp_path / "absent"))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"a=\xff\xfe")
    with pytest.raises(ConfigError, match="byte 2 is not UTF-8"):
        read_properties(str(tmp_path / "binary"))


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


KEYS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(KEYS, st.text("a\\ =:#\n\t")))
def test_escaped_text_comes_back(properties: dict[str, str]) -> None:
    text = "\n".join(f"{escaped(key)}={escaped(value)}" for key, value in properties.items())
    assert parse_properties(text) == properties
