"""A real ZooKeeper server for tests: Debian's package ``zookeeper`` on a free port of the loopback, its data in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from bench.ports import free_port
from tests.processes import freeze

_JAR = Path("/usr/share/java/zookeeper.jar")
_START_SECONDS = 60


def missing() -> str | None:
    """Why no server can be started here, None when one can."""
    if shutil.which("java") is None:
        return "no java; install Debian's default-jre-headless"
    if not _JAR.exists():
        return f"no {_JAR}; install Debian's package zookeeper"
    return None


class ZooKeeperServer:
    """One server; ``tick_ms`` bounds session timeouts from below at twice its value.

    Args:
        port: where it listens; a free one when not given.
        settings: more lines of its configuration.
        alone: whether it is no member of an ensemble, so that it answers at once when it has started.
        users: with passwords; they authenticate themselves by SASL DIGEST-MD5, as Kafka's brokers do.
    """

    def __init__(
        self,
        folder: Path,
        tick_ms: int = 100,
        *,
        port: int | None = None,
        settings: str = "",
        alone: bool = True,
        users: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self.address = f"127.0.0.1:{self.port}"
        self._log = folder / "zookeeper.log"
        self._config = folder / "zoo.cfg"
        self._logins = folder / "jaas.conf"
        if users is not None:
            settings += "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
            self.admit(users)
        self._config.write_text(
            f"dataDir={folder / 'data'}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
            f"tickTime={tick_ms}\nmaxSessionTimeout=60000\nmaxClientCnxns=0\n{settings}"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._alone = alone
        if alone:
            self.start()

    def admit(self, users: Mapping[str, str]) -> None:
        """Write down who may authenticate himself after the next start."""
        known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
        self._logins.write_text(f"Server {{ org.apache.zookeeper.server.auth.DigestLoginModule required {known}; }};\n")

    def start(self) -> None:
        """Start; one that is alone is waited for until it answers."""
        command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", str(_JAR)]
        if self._logins.exists():
            command.insert(1, f"-Djava.security.auth.login.config={self._logins}")
        command += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if not self._alone:
            return
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._serves():
                return
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"ZooKeeper did not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def _serves(self) -> bool:
        """Whether it serves requests: it accepts connections a while before that, and drops them."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
                connection.sendall(b"srvr")
                return b"Mode:" in connection.makefile("rb").read()
        except OSError:
            return False

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it answer nothing."""
        assert self._process is not None
        freeze(self._process.pid)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)


class ZooKeeperEnsemble:
    """Three servers, of which one may be missing."""

    def __init__(self, folder: Path) -> None:
        ports = [[free_port() for _ in range(3)] for _ in range(3)]
        members = "".join(f"server.{n}=127.0.0.1:{quorum}:{vote}\n" for n, (_, quorum, vote) in enumerate(ports, 1))
        self.members = []
        for number, (port, _, _) in enumerate(ports, 1):
            home = folder / f"zookeeper-{number}"
            (home / "data").mkdir(parents=True)
            (home / "data" / "myid").write_text(f"{number}\n")
            settings = f"initLimit=100\nsyncLimit=50\n{members}"
            self.members.append(ZooKeeperServer(home, port=port, settings=settings, alone=False))
        self.address = ",".join(member.address for member in self.members)
        for member in self.members:
            member.start()

    def kill(self) -> None:
        """Kill all."""
        for member in self.members:
            member.kill()
