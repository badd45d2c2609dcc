"""The value of the control record that ends a transaction in a partition."""

from __future__ import annotations

from kafkax.protocol.coordinator_records.framing import VersionedMessage
from kafkax.protocol.schema import int32


class EndTxnMarker(VersionedMessage, versions="0"):
    coordinator_epoch: int = int32("0+")
