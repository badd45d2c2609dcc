"""A broker asks the ZooKeeper-mode controller to move its leaderships before it stops.

Version 0 has a header without client id; 2 adds the broker epoch (KIP-380). The answer lists what the broker still leads.
"""

from __future__ import annotations

from kafkax.protocol.message import Request, Response
from kafkax.protocol.schema import Struct, array, int16, int32, int64, string


class ControlledShutdownRequest(Request, key=7, versions="0-3", flexible="3+"):
    broker_id: int = int32("0+")
    broker_epoch: int = int64("2+", default=-1, ignorable=True)


class RemainingPartition(Struct):
    topic_name: str = string("0+")
    partition_index: int = int32("0+")


class ControlledShutdownResponse(Response, key=7, versions="0-3", flexible="3+"):
    error_code: int = int16("0+")
    remaining_partitions: list[RemainingPartition] = array(RemainingPartition, "0+")
