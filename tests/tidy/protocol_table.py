"""The table of APIs in ``docs/protocol.md``, made from what the codec knows and what the handlers serve.

    python -m tests.tidy.protocol_table     # writes it into the document
"""

from __future__ import annotations

from pathlib import Path

from kafkax.broker.handlers import handlers
from kafkax.protocol.api import API_KEYS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
BEGIN = "<!-- APIs: made by tests/tidy/protocol_table.py -->\n"
END = "<!-- end of APIs -->\n"

_REASONS = {
    "transactions": ("AddPartitionsToTxn", "AddOffsetsToTxn", "EndTxn", "WriteTxnMarkers", "TxnOffsetCommit"),
    "authentication": ("SaslHandshake", "SaslAuthenticate", "CreateDelegationToken", "RenewDelegationToken",
                       "ExpireDelegationToken", "DescribeDelegationToken"),
    "an authorizer": ("DescribeAcls", "CreateAcls", "DeleteAcls"),
    "share groups": ("ShareGroupHeartbeat", "ShareGroupDescribe", "ShareFetch", "ShareAcknowledge", "InitializeShareGroupState",
                     "ReadShareGroupState", "WriteShareGroupState", "DeleteShareGroupState", "ReadShareGroupStateSummary",
                     "DescribeShareGroupOffsets", "AlterShareGroupOffsets", "DeleteShareGroupOffsets"),
    "streams groups": ("StreamsGroupHeartbeat", "StreamsGroupDescribe"),
}  # fmt: skip
"""What an API that is not served would need."""

_KRAFT = "KRaft only"


def table() -> str:
    """The table as Markdown."""
    needs = {name: f"not yet: needs {what}" for what, names in _REASONS.items() for name in names}
    lines = ["| key | API | read and written | served |", "|---|---|---|---|"]
    served = handlers()
    for key, api in sorted(API_KEYS.items()):
        if key in served:
            spec = served[key].spec
            answer = f"{spec.min_version}-{spec.max_version}" + (" in a cluster" if spec.between_brokers else "")
        else:
            answer = needs.get(api.name, f"no: {_KRAFT}")
        lines.append(f"| {key} | {api.name} | {api.min_version}-{api.max_version} | {answer} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """The document with the table between its marks."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
