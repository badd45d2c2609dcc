"""What the tests of coordination share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.zookeeper_server import ZooKeeperServer, missing


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperServer]:
    """A ZooKeeper server of the module's own."""
    why = missing()
    if why is not None:
        pytest.skip(why)
    started = ZooKeeperServer(tmp_path_factory.mktemp("zookeeper"))
    yield started
    started.kill()
