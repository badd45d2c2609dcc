"""Throw-away certificates, made by the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def self_signed(folder: Path, name: str = "broker", hosts: str = "DNS:localhost,IP:127.0.0.1") -> Path:
    """A PEM file with a key and a certificate, for localhost and 127.0.0.1 unless others are named."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    key, certificate, both = folder / f"{name}.key", folder / f"{name}.crt", folder / f"{name}.pem"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}"
        f" -addext subjectAltName={hosts} -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    both.write_text(key.read_text() + certificate.read_text())
    return both
