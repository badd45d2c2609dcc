"""Taking changes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kafkax.coordinator.undo import UndoDict, UndoLog

CHANGES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["set", "pop", "default"]), st.integers(0, 3)))


def change(mapping: UndoDict[str, int], changes: list[tuple[str, str, int]]) -> None:
    for key, kind, value in changes:
        if kind == "set":
            mapping[key] = value
        elif kind == "pop":
            mapping.pop(key)
        else:
            mapping.setdefault(key, value)


@given(CHANGES, CHANGES, CHANGES)
def test_a_rollback_restores_exactly_what_was(before: list, kept: list, undone: list) -> None:
    undo = UndoLog()
    mapping: UndoDict[str, int] = UndoDict(undo)
    change(mapping, before)
    undo.active = True
    at_start = dict(mapping)
    change(mapping, kept)
    mark, at_mark = undo.mark(), dict(mapping)
    change(mapping, undone)
    undo.rollback(mark)
    assert mapping == at_mark
    undo.rollback()
    assert mapping == at_start
    assert undo.mark() == 0


def test_what_is_cleared_stays() -> None:
    undo = UndoLog()
    undo.active = True
    mapping: UndoDict[str, int] = UndoDict(undo)
    mapping["a"] = 1
    undo.clear()
    mapping["a"] = 2
    undo.rollback()
    assert mapping == {"a": 1}
