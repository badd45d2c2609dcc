"""Whom a broker obeys: the newest controller, about its present life."""

from __future__ import annotations

from kafkax.errors import ErrorCode

__all__ = ["ControllerFence"]

_NO_EPOCH = -1


class ControllerFence:
    """Looked at before anything in LeaderAndIsr, UpdateMetadata and StopReplica is done.

    Attributes:
        controller_epoch: of the newest controller that was obeyed.
    """

    def __init__(self) -> None:
        self.controller_epoch = 0

    def admit(self, controller_epoch: int, broker_epoch: int, present: int) -> ErrorCode:
        """NONE when the request is to be obeyed.

        Args:
            controller_epoch: what the request says; below that of a controller obeyed before it is a replaced one's.
            broker_epoch: whom the request is meant for (KIP-380, KIP-570), -1 from a controller that doesn't tell.
            present: this broker's epoch.
        """
        if controller_epoch < self.controller_epoch:
            return ErrorCode.STALE_CONTROLLER_EPOCH
        if broker_epoch != _NO_EPOCH and broker_epoch < present:
            return ErrorCode.STALE_BROKER_EPOCH
        self.controller_epoch = controller_epoch
        return ErrorCode.NONE
