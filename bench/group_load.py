"""Committers for ``bench/groups``: many over few connections, asking by hand, so that little of the time is theirs."""

from __future__ import annotations

import select
import socket
import struct
import time
from itertools import count
from typing import Any

from kafkax.cli.perf.bootstrap import Address
from kafkax.protocol.api import API_KEYS
from kafkax.protocol.headers import parse_response_header, request_header
from kafkax.protocol.messages.find_coordinator import FindCoordinatorRequest
from kafkax.protocol.messages.offset_commit import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic

COMMIT_VERSION = 8


class Line:
    """One connection: requests out, answers in, in order."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address, timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ids = count(1)
        self._sent: list[tuple[int, int]] = []

    def send(self, *requests: tuple[Any, int]) -> None:
        """Send requests in one piece."""
        out = bytearray()
        for request, version in requests:
            frame = request_header(request.api_key, version, next(self._ids), "bench") + request.encode(version)
            out += struct.pack(">i", len(frame)) + frame
            self._sent.append((request.api_key, version))
        self.socket.sendall(out)

    def receive(self) -> Any:
        """The answer to the oldest request."""
        key, version = self._sent.pop(0)
        _, body = parse_response_header(self._exactly(struct.unpack(">i", self._exactly(4))[0]), key, version)
        return API_KEYS[key].response_type().decode(body, version)

    def ask(self, request: Any, version: int) -> Any:
        """Send a request and wait."""
        self.send((request, version))
        return self.receive()

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError("the broker closed the connection")
            data += part
        return bytes(data)


def await_coordinator(line: Line, groups: list[str]) -> None:
    """Wait until every group has one; raises RuntimeError after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = line.ask(FindCoordinatorRequest(key_type=0, coordinator_keys=groups), 4)
        if all(found.error_code == 0 for found in answer.coordinators):
            return
        time.sleep(0.1)
    raise RuntimeError("the groups have no coordinator")


def commit_request(group: str, topic: str, partitions: range, offset: int) -> OffsetCommitRequest:
    """What a simple consumer commits."""
    asked = [
        OffsetCommitRequestPartition(partition_index=index, committed_offset=offset, committed_metadata="")
        for index in partitions
    ]
    return OffsetCommitRequest(group_id=group, topics=[OffsetCommitRequestTopic(name=topic, partitions=asked)])


def commit_for(address: Address, topic: str, connections: int, in_flight: int, seconds: float) -> float:
    """Commit one offset a request for some seconds, each connection for a group of its own; commits a second."""
    lines = [Line(address) for _ in range(connections)]
    await_coordinator(lines[0], [f"load-{at}" for at in range(connections)])
    frames, sizes = [], []
    for at, line in enumerate(lines):
        deadline = time.monotonic() + 60
        while True:
            answer = line.ask(commit_request(f"load-{at}", topic, range(1), 0), COMMIT_VERSION)
            code = answer.topics[0].partitions[0].error_code
            if code == 0:
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"a commit was refused with error {code}")
            time.sleep(0.1)
        sizes.append(4 + 5 + len(answer.encode(COMMIT_VERSION)))
        request = commit_request(f"load-{at}", topic, range(1), 1)
        frame = request_header(request.api_key, COMMIT_VERSION, 7, "bench") + request.encode(COMMIT_VERSION)
        frames.append(struct.pack(">i", len(frame)) + frame)
    done = _pump(lines, frames, sizes, in_flight, seconds)
    for line in lines:
        line.close()
    return done / seconds


def _pump(lines: list[Line], frames: list[bytes], sizes: list[int], in_flight: int, seconds: float) -> int:
    poll = select.epoll()
    by_fd = {line.socket.fileno(): at for at, line in enumerate(lines)}
    left_over = [0] * len(lines)
    done = 0
    for at, line in enumerate(lines):
        poll.register(line.socket, select.EPOLLIN)
        line.socket.sendall(frames[at] * in_flight)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for fd, _ in poll.poll(1):
            at = by_fd[fd]
            got = lines[at].socket.recv(1 << 20)
            if not got:
                raise RuntimeError("the broker closed the connection")
            answers, left_over[at] = divmod(left_over[at] + len(got), sizes[at])
            done += answers
            lines[at].socket.sendall(frames[at] * answers)
    return done
