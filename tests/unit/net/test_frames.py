"""Frames come out whole, however the bytes come in."""

from __future__ import annotations

import random
import struct

import pytest

from kafkax.net.frames import FrameProtocol


class Transport:
    aborted = False

    def abort(self) -> None:
        self.aborted = True


def feed(protocol: FrameProtocol, data: bytes, pieces: random.Random) -> None:
    while data:
        room = protocol.get_buffer(-1)
        size = min(len(data), len(room), pieces.choice([1, 3, 100, 70_000, 1 << 20]))
        room[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


@pytest.mark.parametrize("seed", range(30))
def test_frames_of_any_size_in_pieces_of_any_size(seed: int) -> None:
    pieces = random.Random(seed)
    frames = [pieces.randbytes(pieces.choice([4, 5, 100, 65_531, 65_532, 65_533, 70_000, 300_000])) for _ in range(12)]
    taken: list[memoryview] = []
    protocol = FrameProtocol(taken.append, lambda _: None, 1 << 20)
    feed(protocol, b"".join(struct.pack(">i", len(frame)) + frame for frame in frames), pieces)
    assert [bytes(frame) for frame in taken] == frames, "and earlier ones are not written over"


@pytest.mark.parametrize("size", [-1, 0, 3, 1001])
def test_a_length_out_of_bounds_ends_the_connection(size: int) -> None:
    lost: list[Exception | None] = []
    protocol = FrameProtocol(pytest.fail, lost.append, 1000)
    transport = Transport()
    protocol.connection_made(transport)  # type: ignore[arg-type]
    feed(protocol, struct.pack(">i", size), random.Random(1))
    assert transport.aborted
    protocol.connection_lost(None)
    assert f"an answer of {size} bytes" in str(lost[0])
