"""The coordination store of a broker that stands alone: a znode tree kept by SQLite in the data directory.

The tree is in memory; the file holds its persistent nodes.  Requests are taken in order: writes are applied to the tree, their
rows committed by one worker thread with ``synchronous=FULL``, and only then is anything answered that came after the first
uncommitted write.  What arrives during a commit shares the next one.  Ephemeral nodes are never written, so that those of a
former process are gone with it; transaction numbers begin with a counter of the file's openings, so that they grow all the same.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from kafkax.cluster.store import (
    CoordinationStore,
    MultiError,
    Op,
    OpResult,
    SessionLostError,
    SessionState,
    Stat,
    StoreError,
    WatchCallback,
    Watches,
)
from kafkax.cluster.tree import Node, ZnodeTree

__all__ = ["EmbeddedStore", "StoreLockedError"]

_FORMAT = 1
_OPENINGS_SHIFT = 32
_T = TypeVar("_T")
_Row = tuple[str, bytes, int, int, int, int]


class StoreLockedError(StoreError):
    """Another process has the store open."""


class _File:
    """The SQLite file; every method runs on the worker thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise StoreLockedError(f"{path} is in use by another process; stop it or choose another log.dirs") from None
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def load(self) -> tuple[int, list[tuple[str, Node]]]:
        """Count one more opening and read all nodes; returns the number of openings and the nodes."""
        execute = self._db.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")
        execute("BEGIN IMMEDIATE")
        execute("CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID")
        execute(
            "CREATE TABLE IF NOT EXISTS znodes (path TEXT PRIMARY KEY, data BLOB NOT NULL, czxid INTEGER NOT NULL,"
            " mzxid INTEGER NOT NULL, version INTEGER NOT NULL, sequence INTEGER NOT NULL) WITHOUT ROWID"
        )
        meta = dict(execute("SELECT name, value FROM meta").fetchall())
        if meta.get("format", _FORMAT) != _FORMAT:
            raise StoreError(f"{self._path} has format {meta['format']}, not {_FORMAT}; start the version that wrote it")
        openings = meta.get("openings", 0) + 1
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [("format", _FORMAT), ("openings", openings)])
        execute("COMMIT")
        rows = execute("SELECT path, data, czxid, mzxid, version, sequence FROM znodes")
        nodes = [(path, Node(data, czxid, mzxid, version, 0, next_)) for path, data, czxid, mzxid, version, next_ in rows]
        return openings, nodes

    def commit(self, written: list[_Row], deleted: list[tuple[str]]) -> None:
        """Make a set of changes durable."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("DELETE FROM znodes WHERE path = ?", deleted)
        self._db.executemany("INSERT OR REPLACE INTO znodes VALUES (?, ?, ?, ?, ?, ?)", written)
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file and let go of the lock."""
        self._db.close()
        os.close(self._lock)


class EmbeddedStore(CoordinationStore):
    """The one session with a tree in an SQLite file.  Made by :meth:`open`.

    A commit that fails (disk full, I/O error) ends the store: the session is lost and every request raises, since the tree in
    memory is then ahead of what the disk holds.
    """

    def __init__(self, file: _File, worker: ThreadPoolExecutor, tree: ZnodeTree, session_id: int) -> None:
        super().__init__()
        self._file = file
        self._worker = worker
        self._tree = tree
        self._session_id = session_id
        self._node_watches = Watches()
        self._child_watches = Watches()
        self._queue: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._answers: list[tuple[asyncio.Future[Any], Any]] = []
        self._changed_nodes: dict[str, None] = {}
        self._changed_parents: dict[str, None] = {}
        self._commit: asyncio.Task[None] | None = None
        self._failure: StoreError | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path | str) -> EmbeddedStore:
        """Open the file, creating it when absent, and begin a session.

        Raises:
            StoreLockedError: another process has it open.
            StoreError: the file is of a format that is not known, or no such file at all.
        """
        path = Path(path)
        worker = ThreadPoolExecutor(1, thread_name_prefix="coordination")
        loop = asyncio.get_running_loop()

        def load() -> tuple[_File, int, list[tuple[str, Node]]]:
            file = _File(path)
            try:
                return file, *file.load()
            except BaseException:
                file.close()
                raise

        try:
            file, openings, nodes = await loop.run_in_executor(worker, load)
        except sqlite3.Error as error:
            worker.shutdown(wait=False)
            raise StoreError(f"{path}: {error}; if the file is damaged, restore it from a copy") from error
        except BaseException:
            worker.shutdown(wait=False)
            raise
        tree = ZnodeTree(openings << _OPENINGS_SHIFT)
        tree.load(nodes)
        return cls(file, worker, tree, openings)

    @property
    def session_id(self) -> int:
        """How often the file has been opened."""
        return self._session_id

    async def multi_all(self, transactions: Sequence[Sequence[Op]]) -> list[list[OpResult] | MultiError]:
        """Run transactions in order; they share a commit."""
        return await self._submit(lambda: [self._apply(ops) for ops in transactions])

    async def get_many(self, paths: Sequence[str]) -> list[tuple[bytes, Stat] | None]:
        """Data and stat of each path."""
        return await self._submit(lambda: [self._tree.get(path) for path in paths])

    async def children_many(self, paths: Sequence[str]) -> list[list[str] | None]:
        """Names of the children of each path."""
        return await self._submit(lambda: [self._tree.children(path) for path in paths])

    async def watch_nodes(self, paths: Iterable[str], callback: WatchCallback) -> None:
        """Watch nodes."""
        for path in paths:
            self._node_watches.add(path, callback)

    async def watch_children(self, paths: Iterable[str], callback: WatchCallback) -> None:
        """Watch children."""
        for path in paths:
            self._child_watches.add(path, callback)

    def unwatch(self, paths: Iterable[str], callback: WatchCallback) -> None:
        """End watches."""
        for path in paths:
            self._node_watches.remove(path, callback)
            self._child_watches.remove(path, callback)

    async def close(self) -> None:
        """Let what is under way commit, then close the file.  Closing twice is no error."""
        if self._closed:
            return
        self._closed = True
        self._failure = self._failure or SessionLostError("the coordination store is closed")
        if self._commit is not None:
            await self._commit
        await asyncio.get_running_loop().run_in_executor(self._worker, self._file.close)
        self._worker.shutdown(wait=False)

    async def _submit(self, request: Callable[[], _T]) -> _T:
        if self._failure is not None:
            raise self._failure
        if self._commit is None:
            answer = request()
            if not self._changed_nodes:
                return answer
            future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
            self._answers.append((future, answer))
            self._commit = asyncio.get_running_loop().create_task(self._commit_changes())
        else:
            future = asyncio.get_running_loop().create_future()
            self._queue.append((request, future))
        return await future

    def _apply(self, ops: Sequence[Op]) -> list[OpResult] | MultiError:
        try:
            outcome = self._tree.apply(ops, self._session_id)
        except MultiError as failure:
            return failure
        self._changed_nodes.update(outcome.nodes)
        self._changed_parents.update(outcome.parents)
        return outcome.results

    async def _commit_changes(self) -> None:
        loop = asyncio.get_running_loop()
        answers: list[tuple[asyncio.Future[Any], Any]] = []
        try:
            while self._changed_nodes:
                nodes, parents, answers = self._changed_nodes, self._changed_parents, self._answers
                self._changed_nodes, self._changed_parents, self._answers = {}, {}, []
                written, deleted = self._rows(nodes)
                if written or deleted:
                    await loop.run_in_executor(self._worker, self._file.commit, written, deleted)
                self._publish(nodes, parents, answers)
                while self._queue:
                    request, future = self._queue.popleft()
                    self._answers.append((future, request()))
            self._publish({}, {}, self._answers)
            self._answers = []
        except sqlite3.Error as error:
            self._fail(StoreError(f"the coordination store could not commit: {error}"), answers)
        finally:
            self._commit = None

    def _rows(self, nodes: dict[str, None]) -> tuple[list[_Row], list[tuple[str]]]:
        written: list[_Row] = []
        deleted: list[tuple[str]] = []
        for path in nodes:
            node = self._tree.node(path)
            if node is None:
                deleted.append((path,))
            elif not node.owner:
                written.append((path, node.data, node.czxid, node.mzxid, node.version, node.sequence))
        return written, deleted

    def _publish(self, nodes: dict[str, None], parents: dict[str, None], answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
        for path in nodes:
            self._node_watches.fire(path)
        for path in parents:
            self._child_watches.fire(path)
        for future, answer in answers:
            if not future.done():
                future.set_result(answer)

    def _fail(self, failure: StoreError, answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
        self._failure = failure
        waiting = [future for future, _ in answers] + [future for _, future in self._queue]
        self._queue.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(failure)
        self._tell_session(SessionState.LOST)
