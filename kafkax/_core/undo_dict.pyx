"""A dict that notes what it held before, for state that changes thousands of times a second."""

from cpython.dict cimport PyDict_DelItem, PyDict_GetItem, PyDict_SetItem
from cpython.object cimport PyObject

__all__ = ["ABSENT", "UndoDict"]

cdef object ABSENT_VALUE = object()
ABSENT = ABSENT_VALUE


cdef class UndoDict(dict):
    cdef object undo

    def __init__(self, undo):
        self.undo = undo

    def __setitem__(self, key, value):
        cdef PyObject *found
        if self.undo.active:
            found = PyDict_GetItem(self, key)
            self.undo.entries.append((self, key, ABSENT_VALUE if found == NULL else <object>found))
        PyDict_SetItem(self, key, value)

    def __delitem__(self, key):
        if self.undo.active:
            self.undo.entries.append((self, key, self[key]))
        PyDict_DelItem(self, key)

    def pop(self, key, default=None):
        if key not in self:
            return default
        value = self[key]
        del self[key]
        return value

    def setdefault(self, key, default=None):
        if key not in self:
            self[key] = default
        return self[key]
