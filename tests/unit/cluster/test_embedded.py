"""The SQLite store: what is answered is on disk, and a former process leaves nothing but its persistent nodes."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3

import pytest

from kafkax.cluster.embedded import EmbeddedStore, StoreLockedError
from kafkax.cluster.store import SessionState, StoreError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "coordination.db"


async def test_nodes_come_back_with_versions_and_sequence_numbers(path):
    store = await EmbeddedStore.open(path)
    await store.ensure_paths(["/a/b", "/q"])
    await store.set("/a/b", b"data")
    before = await store.get("/a/b")
    first = await store.create("/q/n", sequence=True)
    await store.delete(first)
    await store.close()

    again = await EmbeddedStore.open(path)
    assert await again.get("/a/b") == before
    assert await again.children("/a") == ["b"]
    assert await again.create("/q/n", sequence=True) > first
    await again.close()


async def test_what_was_answered_is_in_the_file_without_a_close(path, tmp_path):
    store = await EmbeddedStore.open(path)
    await store.create("/a", b"kept")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("coordination.db*"):
        shutil.copy(file, copy)
    crashed = await EmbeddedStore.open(copy / "coordination.db")
    assert (await crashed.get("/a"))[0] == b"kept"
    await crashed.close()
    await store.close()


async def test_ephemerals_end_with_the_process_and_czxid_still_grows(path):
    store = await EmbeddedStore.open(path)
    await store.create("/id", ephemeral=True)
    former = await store.exists("/id")
    await store.close()
    store = await EmbeddedStore.open(path)
    assert await store.exists("/id") is None
    await store.create("/id", ephemeral=True)
    assert (await store.exists("/id")).czxid > former.czxid
    await store.close()


async def test_a_second_process_is_refused_until_the_first_is_gone(path):
    store = await EmbeddedStore.open(path)
    with pytest.raises(StoreLockedError, match="in use by another process"):
        await EmbeddedStore.open(path)
    await store.close()
    await (await EmbeddedStore.open(path)).close()


async def test_a_file_that_is_no_store_is_named(path):
    path.write_bytes(b"not a database, but longer than a header of SQLite would be, by quite a bit" * 20)
    with pytest.raises(StoreError, match=r"coordination\.db"):
        await EmbeddedStore.open(path)


async def test_an_unknown_format_is_refused(path):
    await (await EmbeddedStore.open(path)).close()
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value = 99 WHERE name = 'format'")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="format 99"):
        await EmbeddedStore.open(path)


async def test_a_failed_commit_loses_the_session_and_answers_nothing(path, monkeypatch):
    store = await EmbeddedStore.open(path)
    states = []
    store.add_session_listener(states.append)

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store._file, "commit", full)
    outcomes = await asyncio.gather(store.create("/a"), store.create("/b"), store.get("/"), return_exceptions=True)
    assert all(isinstance(outcome, StoreError) for outcome in outcomes)
    assert states == [SessionState.LOST]
    with pytest.raises(StoreError, match="disk is full"):
        await store.get("/a")
    await store.close()
    reopened = await EmbeddedStore.open(path)
    assert await reopened.exists("/a") is None
    await reopened.close()


async def test_writes_made_together_share_commits(path, monkeypatch):
    store = await EmbeddedStore.open(path)
    await store.create("/a")
    commits = []
    commit = store._file.commit
    monkeypatch.setattr(store._file, "commit", lambda *rows: (commits.append(rows), commit(*rows)))
    await asyncio.gather(*(store.set("/a", b"%d" % i) for i in range(100)))
    assert len(commits) <= 2
    assert (await store.get("/a"))[0] == b"99"
    await store.close()
