"""kcat: a file through the shell, in every compression."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.compat.dataset import TOTAL_BYTES, samples

kcat = shutil.which("kcat") or shutil.which("kafkacat")
pytestmark = pytest.mark.skipif(kcat is None, reason="kcat is not installed")


def run(*arguments: str, stdin: Path | None = None) -> bytes:
    with (stdin or Path("/dev/null")).open("rb") as source:
        done = subprocess.run([str(kcat), *arguments], stdin=source, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.timeout(300)
def test_a_file_comes_back_byte_for_byte(bootstrap: str, topic: str, tmp_path: Path, compression: str) -> None:
    source = tmp_path / "lines"
    with source.open("wb") as sink:
        for sample in samples(TOTAL_BYTES, 1, 1000):
            value = (sample.value or b"").replace(b"\n", b" ").replace(b"\t", b" ")
            sink.write((sample.key or b"none") + b"\t" + value + b"\n")
    run("-b", bootstrap, "-t", topic, "-p", "0", "-P", "-K", "\\t", "-z", compression, "-H", "source=file", stdin=source)
    back = run("-b", bootstrap, "-t", topic, "-C", "-e", "-q", "-o", "beginning", "-f", "%k\\t%s\\n")
    assert back == source.read_bytes()


def test_metadata_lists_the_broker(bootstrap: str) -> None:
    listed = json.loads(run("-b", bootstrap, "-L", "-J"))
    assert bootstrap in [broker["name"] for broker in listed["brokers"]]
