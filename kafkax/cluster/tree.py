"""The meaning of a znode tree, without I/O: the embedded store keeps one durably, a simulated ZooKeeper serves it to many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kafkax.cluster.store import (
    ANY_VERSION,
    BadVersionError,
    Check,
    Create,
    Delete,
    MultiError,
    NoChildrenForEphemeralsError,
    NodeError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    Op,
    OpResult,
    SetData,
    Stat,
    parent_of,
)

__all__ = ["Node", "Outcome", "ZnodeTree"]


class Node:
    """One znode."""

    __slots__ = ("children", "czxid", "data", "mzxid", "owner", "sequence", "version")

    def __init__(self, data: bytes, czxid: int, mzxid: int, version: int = 0, owner: int = 0, sequence: int = 0) -> None:
        self.data = data
        self.czxid = czxid
        self.mzxid = mzxid
        self.version = version
        self.owner = owner
        self.sequence = sequence
        """The number that the next sequence node below will get."""
        self.children: dict[str, None] | None = None
        """Names of the nodes below, in order of creation."""

    @property
    def stat(self) -> Stat:
        """The node's stat."""
        return Stat(self.czxid, self.mzxid, self.version, self.owner)


class Outcome(NamedTuple):
    """What a transaction did."""

    results: list[OpResult]
    nodes: dict[str, None]
    """Paths of nodes that were created, set or deleted, in this order."""
    parents: dict[str, None]
    """Paths of nodes whose children changed."""


_Undo = tuple[str, Node | None, bytes, int, int]


class ZnodeTree:
    """Nodes by path, changed only by transactions.

    Args:
        zxid: the last transaction number given out; the first one here is the next.
    """

    def __init__(self, zxid: int = 0) -> None:
        self.zxid = zxid
        self._nodes: dict[str, Node] = {"/": Node(b"", 0, 0)}

    def load(self, nodes: Iterable[tuple[str, Node]]) -> None:
        """Take over stored nodes; parents may come after their children."""
        for path, node in nodes:
            previous = self._nodes.get(path)
            if previous is not None:
                node.children = previous.children
            self._nodes[path] = node
        for path in self._nodes:
            if path != "/":
                self._link(path)

    def node(self, path: str) -> Node | None:
        """The node at a path."""
        return self._nodes.get(path)

    def paths(self) -> list[str]:
        """Every path, the root included."""
        return list(self._nodes)

    def get(self, path: str) -> tuple[bytes, Stat] | None:
        """Data and stat of the node at a path."""
        node = self._nodes.get(path)
        return None if node is None else (node.data, node.stat)

    def children(self, path: str) -> list[str] | None:
        """Names of the children of the node at a path."""
        node = self._nodes.get(path)
        return None if node is None else list(node.children or ())

    def owned_by(self, session: int) -> list[str]:
        """Paths of the session's ephemeral nodes."""
        return [path for path, node in self._nodes.items() if node.owner == session]

    def apply(self, ops: Sequence[Op], session: int) -> Outcome:
        """Run a transaction for a session.

        Raises:
            MultiError: an operation did not fit; the tree is as before.
        """
        zxid = self.zxid + 1
        outcome = Outcome([], {}, {})
        undo: list[_Undo] = []
        for index, op in enumerate(ops):
            try:
                outcome.results.append(self._apply(op, zxid, session, outcome, undo))
            except NodeError as error:
                self._roll_back(undo)
                raise MultiError(index, error) from None
        self.zxid = zxid
        return outcome

    def _apply(self, op: Op, zxid: int, session: int, outcome: Outcome, undo: list[_Undo]) -> OpResult:
        if isinstance(op, Create):
            return self._create(op, zxid, session, outcome, undo)
        node = self._nodes.get(op.path)
        if node is None:
            raise NoNodeError(op.path)
        if op.version not in (ANY_VERSION, node.version):
            raise BadVersionError(op.path)
        if isinstance(op, Check):
            return None
        undo.append((op.path, node, node.data, node.mzxid, node.version))
        if isinstance(op, SetData):
            node.data, node.mzxid, node.version = op.data, zxid, node.version + 1
            outcome.nodes[op.path] = None
            return node.stat
        self._delete(op, node, outcome)
        return None

    def _create(self, op: Create, zxid: int, session: int, outcome: Outcome, undo: list[_Undo]) -> str:
        above = parent_of(op.path)
        parent = self._nodes.get(above)
        if parent is None:
            raise NoNodeError(above)
        if parent.owner:
            raise NoChildrenForEphemeralsError(above)
        path = f"{op.path}{parent.sequence:010d}" if op.sequence else op.path
        if path in self._nodes:
            raise NodeExistsError(path)
        if op.sequence:
            # Never taken back: a number that a failed transaction used up is merely skipped.
            parent.sequence += 1
            outcome.nodes[above] = None
        undo.append((path, None, b"", 0, 0))
        self._nodes[path] = Node(op.data, zxid, zxid, owner=session if op.ephemeral else 0)
        self._link(path)
        outcome.nodes[path] = None
        outcome.parents[above] = None
        return path

    def _delete(self, op: Delete, node: Node, outcome: Outcome) -> None:
        if node.children:
            raise NotEmptyError(op.path)
        self._unlink(op.path)
        del self._nodes[op.path]
        outcome.nodes[op.path] = None
        outcome.parents[parent_of(op.path)] = None

    def _roll_back(self, undo: list[_Undo]) -> None:
        for path, node, data, mzxid, version in reversed(undo):
            if node is None:
                self._unlink(path)
                del self._nodes[path]
                continue
            node.data, node.mzxid, node.version = data, mzxid, version
            if path not in self._nodes:
                self._nodes[path] = node
                self._link(path)

    def _link(self, path: str) -> None:
        at = path.rfind("/")
        parent = self._nodes[path[:at] or "/"]
        if parent.children is None:
            parent.children = {}
        parent.children[path[at + 1 :]] = None

    def _unlink(self, path: str) -> None:
        at = path.rfind("/")
        children = self._nodes[path[:at] or "/"].children
        assert children is not None
        del children[path[at + 1 :]]
