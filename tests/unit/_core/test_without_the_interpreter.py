"""Produce, Fetch, long polls, flushes and acknowledgements go on while the interpreter's lock is held by somebody else."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

from tests.unit._core.topics import batch, encode, fetch, produce, serving

ROUNDS = 50
CLIENT = """
import socket, sys
port, lock = int(sys.argv[1]), sys.stdin.buffer
def frame():
    size = lock.read(4)
    return size + lock.read(int.from_bytes(size, "big"))
poll, flushed = frame(), frame()
def answered(connection):
    file = connection.makefile("rb")
    return file.read(int.from_bytes(file.read(4), "big"))
consumer = socket.create_connection(("127.0.0.1", port), 60)
producer = socket.create_connection(("127.0.0.1", port), 60)
sys.stderr.write("connected\\n")
sys.stderr.flush()
lock.read(1)
consumer.sendall(poll)
for _ in range(int(sys.argv[2])):
    producer.sendall(flushed)
    answered(producer)
got = answered(consumer)
sys.stdout.buffer.write(b"1" if b"while it is held" in got else b"0")
"""


def test_everything_of_the_data_plane_goes_on_while_the_lock_is_held(tmp_path: Path) -> None:
    libc = ctypes.PyDLL(None)  # its calls keep the lock
    said = ctypes.create_string_buffer(1)
    with serving(tmp_path) as (topics, broker):
        partition = topics.add("t", flushed=True)
        poll = encode(fetch(topics, {("t", 0): 0}, 12, max_wait_ms=60_000), 12)
        flushed = encode(produce(topics, {("t", 0): batch(b"while it is held")}, 9, acks=-1, timeout_ms=60_000), 9)
        command = [sys.executable, "-c", CLIENT, str(broker.port), str(ROUNDS)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, **pipes) as client:  # type: ignore[call-overload]
            client.stdin.write(poll + flushed)
            client.stdin.flush()
            assert client.stderr.readline() == b"connected\n"
            client.stdin.write(b"!")
            client.stdin.flush()
            # Returns once the client has all its answers or has given up; no line of Python runs here until then.
            libc.read(client.stdout.fileno(), said, 1)
        assert said.raw == b"1"
        assert partition.log.log_end_offset == partition.high_watermark == ROUNDS
