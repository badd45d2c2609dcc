"""The table of APIs in ``docs/protocol.md``, made from the codec's table and the handlers that are registered.

``python -m tests.tidy.protocol_table`` writes it into the document.
"""

from __future__ import annotations

from kafkax.broker.handlers import handlers
from kafkax.protocol.api import API_KEYS, ApiKey
from tests.tidy.sources import ROOT

DOCUMENT = ROOT / "docs" / "protocol.md"
BEGIN, END = "<!-- APIs: made by tests/tidy/protocol_table.py -->", "<!-- end of APIs -->"


def versions(low: int, high: int) -> str:
    """A range of versions as people write it."""
    return str(low) if low == high else f"{low}-{high}"


def row(api: ApiKey) -> str:
    """The table's line for one API."""
    handler = handlers().get(api.key)
    served = "no" if handler is None else versions(handler.spec.min_version, handler.spec.max_version)
    return f"| {api.key} | {api.name} | {versions(api.min_version, api.max_version)} | {served} |"


def table() -> str:
    """The whole table."""
    head = "| key | API | versions read and written | served by the broker |\n|---|---|---|---|"
    return "\n".join([head, *(row(api) for _, api in sorted(API_KEYS.items()))])


def parts() -> tuple[str, str, str]:
    """The document before the table, the table, and what follows."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    current, _, after = rest.partition(END)
    return before, current.strip(), after


if __name__ == "__main__":
    before, _, after = parts()
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")
