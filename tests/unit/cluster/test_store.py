"""What every coordination store promises; each backend runs the whole suite."""

from __future__ import annotations

import asyncio
from random import Random
from uuid import uuid4

import pytest

from kafkax.cluster.embedded import EmbeddedStore
from kafkax.cluster.store import (
    BadVersionError,
    Check,
    Create,
    Delete,
    MultiError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    SessionLostError,
    SetData,
    parent_of,
)
from kafkax.cluster.zookeeper import ZooKeeperSettings, ZooKeeperStore
from tests.sim.zookeeper import FakeZooKeeper


@pytest.fixture(params=["embedded", "simulated", "zookeeper"])
async def store(request, tmp_path):
    if request.param == "embedded":
        opened = await EmbeddedStore.open(tmp_path / "coordination.db")
    elif request.param == "simulated":
        opened = FakeZooKeeper(Random(1), latency=0.001).connect()
    else:
        # A chroot of its own keeps each test's tree apart.
        address = request.getfixturevalue("server").address
        opened = await ZooKeeperStore.connect(ZooKeeperSettings(f"{address}/tests/{uuid4().hex}", session_timeout_ms=60_000))
    yield opened
    await opened.close()


async def noted(hints, count=1):
    """Wait until a watch has hinted often enough."""

    async def enough():
        while len(hints) < count:
            await asyncio.sleep(0.001)

    await asyncio.wait_for(enough(), 60)


async def test_a_created_node_is_read_back_with_version_zero(store):
    assert await store.create("/a", b"one") == "/a"
    data, stat = await store.get("/a")
    assert data == b"one"
    assert stat.version == 0
    assert stat.czxid == stat.mzxid > 0
    assert stat.ephemeral_owner == 0


async def test_create_needs_a_parent_and_an_unused_path(store):
    with pytest.raises(NoNodeError):
        await store.create("/a/b")
    await store.create("/a")
    with pytest.raises(NodeExistsError):
        await store.create("/a")


async def test_set_counts_versions_and_refuses_another_than_expected(store):
    await store.create("/a", b"0")
    stat = await store.set("/a", b"1", 0)
    assert stat.version == 1
    with pytest.raises(BadVersionError):
        await store.set("/a", b"2", 0)
    assert (await store.set("/a", b"3")).version == 2
    data, read = await store.get("/a")
    assert data == b"3"
    assert read.mzxid > read.czxid
    with pytest.raises(NoNodeError):
        await store.set("/b", b"")


async def test_delete_checks_version_and_children(store):
    await store.ensure_paths(["/a/b"])
    with pytest.raises(NotEmptyError):
        await store.delete("/a")
    with pytest.raises(BadVersionError):
        await store.delete("/a/b", 7)
    await store.delete("/a/b", 0)
    await store.delete("/a")
    assert await store.exists("/a") is None
    with pytest.raises(NoNodeError):
        await store.delete("/a")


async def test_czxid_grows_when_a_node_is_created_again(store):
    await store.create("/a")
    first = await store.exists("/a")
    await store.delete("/a")
    await store.create("/a")
    second = await store.exists("/a")
    assert second.czxid > first.czxid


async def test_children_are_names_and_missing_nodes_are_told_apart(store):
    await store.ensure_paths(["/a/x", "/a/y", "/b"])
    assert sorted(await store.children("/a")) == ["x", "y"]
    assert await store.children("/b") == []
    with pytest.raises(NoNodeError):
        await store.children("/c")
    found = await store.children_many(["/b", "/c"])
    assert found == [[], None]


async def test_sequence_nodes_grow_and_numbers_are_not_used_again(store):
    await store.create("/q")
    first = await store.create("/q/n_", b"", sequence=True)
    second = await store.create("/q/n_", b"", sequence=True)
    await store.delete(second)
    third = await store.create("/q/n_", b"", sequence=True)
    numbers = [path.removeprefix("/q/n_") for path in (first, second, third)]
    assert all(len(number) == 10 for number in numbers)
    assert numbers == sorted(set(numbers))


async def test_ephemerals_belong_to_the_session_and_have_no_children(store):
    await store.create("/e", b"", ephemeral=True)
    stat = await store.exists("/e")
    assert stat.ephemeral_owner == store.session_id != 0
    with pytest.raises(NoChildrenForEphemeralsError):
        await store.create("/e/child")


async def test_multi_answers_each_operation(store):
    results = await store.multi([Create("/a", b"1"), Check("/a", 0), SetData("/a", b"2", 0), Create("/a/b"), Delete("/a/b")])
    assert results[0] == "/a"
    assert results[1] is None
    assert results[2].version == 1
    assert results[2].czxid == results[2].mzxid
    assert await store.children("/a") == []


async def test_a_failed_multi_changes_nothing_and_names_the_culprit(store):
    await store.ensure_paths(["/a/gone", "/epoch"])
    await store.set("/epoch", b"1")
    with pytest.raises(MultiError) as failure:
        await store.multi([Create("/n"), SetData("/a", b"new"), Delete("/a/gone"), Check("/epoch", 0)])
    assert failure.value.index == 3
    assert isinstance(failure.value.error, BadVersionError)
    assert await store.exists("/n") is None
    assert (await store.get("/a"))[0] == b""
    assert await store.children("/a") == ["gone"]


async def test_transactions_of_a_bulk_fail_each_for_itself(store):
    outcome = await store.multi_all([[Create("/a")], [Create("/a")], [Create("/a/b")]])
    assert outcome[0] == ["/a"]
    assert isinstance(outcome[1], MultiError)
    assert isinstance(outcome[1].error, NodeExistsError)
    assert outcome[2] == ["/a/b"]


async def test_bulk_reads_keep_the_order_asked_for(store):
    await store.ensure_paths([f"/n{i}" for i in range(300)])
    await store.multi_all([[SetData(f"/n{i}", str(i).encode())] for i in range(300)])
    found = await store.get_many([f"/n{i}" for i in range(301)])
    assert [data for data, _ in found[:300]] == [str(i).encode() for i in range(300)]
    assert found[300] is None


async def test_a_read_sees_every_write_made_before_it(store):
    await store.create("/a", b"")
    writes = [store.set("/a", str(i).encode()) for i in range(20)]
    *_, (data, stat) = await asyncio.gather(*writes, store.get("/a"))
    assert data == b"19"
    assert stat.version == 20


async def test_node_watches_hint_at_create_set_and_delete(store):
    hints = []
    await store.watch_nodes(["/a"], hints.append)
    for step, change in enumerate((store.create("/a"), store.set("/a", b"x"), store.delete("/a")), 1):
        await change
        await noted(hints, step)
    assert set(hints) == {"/a"}


async def test_child_watches_hint_at_each_change_of_the_children(store):
    await store.create("/p")
    hints = []
    await store.watch_children(["/p"], hints.append)
    await store.create("/p/a")
    await noted(hints)
    seen = len(hints)
    await store.delete("/p/a")
    await noted(hints, seen + 1)


async def test_a_watch_keeps_hinting_after_the_first_time(store):
    await store.create("/a")
    hints = []
    await store.watch_nodes(["/a"], hints.append)
    for count in range(1, 6):
        await store.set("/a", b"")
        await noted(hints, count)


async def test_a_cancelled_watch_is_silent(store):
    await store.create("/a")
    hints, others = [], []
    await store.watch_nodes(["/a"], hints.append)
    await store.watch_nodes(["/a"], others.append)
    store.unwatch(["/a"], hints.append)
    await store.set("/a", b"")
    await noted(others)
    assert hints == []


async def test_delete_tree_takes_everything_below(store):
    await store.ensure_paths(["/t/a/b/c", "/t/d", "/other"])
    await store.delete_tree("/t")
    await store.delete_tree("/t")
    assert await store.exists("/t") is None
    assert await store.exists("/other") is not None


async def test_a_closed_store_refuses_requests(store):
    await store.close()
    with pytest.raises(SessionLostError):
        await store.get("/")


def test_parent_of_a_top_node_is_the_root():
    assert parent_of("/a") == "/"
    assert parent_of("/a/b/c") == "/a/b"
